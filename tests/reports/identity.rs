//! Whole identities: an account is a channel and a name.
