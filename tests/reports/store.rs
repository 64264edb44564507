//! A store that knows its mode, its encoding and its last group.
