//! How systems stand (FGMV-29 8.2.1 and 8.3.1).
