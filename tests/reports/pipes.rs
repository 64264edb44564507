//! Output that nobody reads, and commands of a newcomer.
