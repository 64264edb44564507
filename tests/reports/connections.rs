//! Connections that strangers hold.
