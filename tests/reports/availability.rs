//! What a broken or absent store means to those who wait.
