//! What this engine can't do with images yet; it says so rather than pretending.

use crate::call::Call;
use crate::error::Error;
use crate::reply::Reply;

/// `ImageGet`, `ImageGetAll`, `ImageLoad`
pub(crate) async fn archives(_call: Call) -> Reply {
    Err(Error::unsupported("saving images to archives and loading them is not supported yet"))
}
