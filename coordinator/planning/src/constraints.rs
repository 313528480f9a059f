//! Does a measured candidate hold the constraints, and if not, how far off is it?
