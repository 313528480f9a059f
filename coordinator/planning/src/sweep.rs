//! Which configurations to try on a machine: the user's sweep, or a small automatic grid.
