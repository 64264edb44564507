//! Numbers that never repeat, after a restore either.
