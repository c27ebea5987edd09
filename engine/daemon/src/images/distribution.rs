//! `DistributionInspect`: what a name stands for at its registry, without a pull.

use glassdock_image::Reference;
use serde_json::json;

use super::credentials;
use crate::call::Call;
use crate::reply::{self, Reply};

pub(crate) async fn inspect(call: Call) -> Reply {
    let reference = Reference::parse(call.param("name"))?;
    let credentials = credentials::read(call.header("x-registry-auth"));
    let (found, platforms) =
        call.engine.registry.inspect(&call.trace, &reference, credentials.as_ref()).await?;
    let descriptor = json!({ "mediaType": found.media_type, "digest": found.digest, "size": found.size });
    reply::json(&json!({ "Descriptor": descriptor, "Platforms": platforms }))
}
