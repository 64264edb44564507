//! Wall clocks that step.
