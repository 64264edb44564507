//! What one platform's mistakes do to another.
