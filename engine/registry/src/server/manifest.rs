//! A manifest that is pushed: what it is, what it names, and whether it may come in.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Code, Refusal};
use glassdock_image::digest::Digest;

/// The largest manifest, in bytes. The specification asks registries to take 4 MiB at least.
pub(crate) const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What the registry needs to know of a manifest.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    /// Blobs that must be in the repository: digest and promised size.
    pub(crate) blobs: Vec<(Digest, u64)>,
    /// Manifests that must be in the repository.
    pub(crate) manifests: Vec<Digest>,
    /// The manifest that this one is about, which may be missing.
    pub(crate) subject: Option<Digest>,
    artifact_type: Option<String>,
    annotations: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the client says it is.
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Refusal> {
        let invalid = |words: String| Refusal::new(Code::ManifestInvalid, words);
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("the manifest cannot be read: {error}")))?;
        if wire.schema_version != 2 {
            let words =
                format!("schema version {} is not supported; push schema version 2", wire.schema_version);
            return Err(invalid(words));
        }
        // Parameters such as charset don't change what it is.
        let said = content_type
            .and_then(|text| text.split(';').next())
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let media_type = match (said, wire.media_type.as_deref()) {
            (Some(said), Some(written)) if said != written => {
                let words = format!("the Content-Type is {said}, but the manifest says that it is {written}");
                return Err(invalid(words));
            }
            (Some(known), _) | (None, Some(known)) => known.to_owned(),
            (None, None) if wire.manifests.is_some() => OCI_INDEX.to_owned(),
            (None, None) => OCI_MANIFEST.to_owned(),
        };
        let is_index = match media_type.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => false,
            OCI_INDEX | DOCKER_LIST => true,
            other => return Err(invalid(format!("{other:.120} is no media type of a manifest"))),
        };
        let read = |descriptor: &Descriptor| {
            descriptor.digest.parse::<Digest>().map_err(|error| invalid(error.to_string()))
        };
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        if is_index {
            let list =
                wire.manifests.as_ref().ok_or_else(|| invalid("the index has no manifests".to_owned()))?;
            for descriptor in list {
                manifests.push(read(descriptor)?);
            }
        } else {
            let config =
                wire.config.as_ref().ok_or_else(|| invalid("the manifest has no config".to_owned()))?;
            blobs.push((read(config)?, config.size));
            let layers =
                wire.layers.as_ref().ok_or_else(|| invalid("the manifest has no layers".to_owned()))?;
            for layer in layers {
                let digest = read(layer)?;
                if !is_foreign(&layer.media_type) {
                    blobs.push((digest, layer.size));
                }
            }
        }
        let subject = wire.subject.as_ref().map(read).transpose()?;
        let config_type = wire.config.map(|config| config.media_type);
        let artifact_type = wire.artifact_type.filter(|text| !text.is_empty()).or(config_type);
        Ok(Self { media_type, blobs, manifests, subject, artifact_type, annotations: wire.annotations })
    }

    /// The descriptor that the list of referrers shows.
    pub(crate) fn descriptor(&self, digest: &Digest, size: usize) -> Value {
        let mut descriptor =
            json!({"mediaType": self.media_type, "size": size, "digest": digest.to_string()});
        if let Some(artifact_type) = &self.artifact_type {
            descriptor["artifactType"] = json!(artifact_type);
        }
        if let Some(annotations) = &self.annotations {
            descriptor["annotations"] = annotations.clone();
        }
        descriptor
    }
}

/// Layers that their makers don't let others distribute: they may be named and not be here.
fn is_foreign(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

/// An index of descriptors, as the referrers are listed.
pub(crate) fn index(descriptors: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors})
}

/// The media type of an OCI index.
pub(crate) fn index_media_type() -> &'static str {
    OCI_INDEX
}
