//! `build`: a Dockerfile becomes an image, or is only read.

pub(crate) mod read;
