//! Configuration that says what it means.
