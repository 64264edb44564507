//! The order in which calls are served, and what "later" means.
