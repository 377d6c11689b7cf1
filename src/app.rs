//! (arrives with its first commit)
