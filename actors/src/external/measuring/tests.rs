//! What is measured of a system (FGMV-29 8.2.1).
