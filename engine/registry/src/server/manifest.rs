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
/// What the types of Docker's first manifests begin with.
const DOCKER_SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+";
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
    schema_version: Option<Value>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Value>,
    layers: Option<Vec<Value>>,
    blobs: Option<Vec<Value>>,
    manifests: Option<Vec<Value>>,
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

/// What a media type says of the manifest's form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Image,
    Index,
    /// One that we don't know: what it names is found where it names it as the others do.
    Other,
}

impl Manifest {
    /// Reads a manifest. `content_type` is what the client says it is.
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Refusal> {
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("the manifest cannot be read: {error}")))?;
        let media_type = media_type(content_type, &wire)?;
        let form = form(&media_type)?;
        match &wire.schema_version {
            Some(version) if *version == 2 => {}
            None if form == Form::Other => {}
            version => {
                let version = version.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
                let words = format!("schema version {version:.40} is not supported; push schema version 2");
                return Err(invalid(words));
            }
        }
        let known = form != Form::Other;
        let config = wire.config.map(|value| descriptor("config", value, known)).transpose()?.flatten();
        let config_type = config.as_ref().map(|config| config.media_type.clone());
        if form == Form::Image && config.is_none() {
            return Err(invalid("the manifest has no config".to_owned()));
        }
        if form == Form::Image && wire.layers.is_none() {
            return Err(invalid("the manifest has no layers".to_owned()));
        }
        if form == Form::Index && wire.manifests.is_none() {
            return Err(invalid("the index has no manifests".to_owned()));
        }
        let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
        if form != Form::Index {
            let layers = wire.layers.into_iter().chain(wire.blobs).flatten();
            let layers = layers.map(|value| descriptor("layer", value, known));
            for part in std::iter::once(Ok(config)).chain(layers) {
                let Some(part) = part? else { continue };
                let digest = read(&part)?;
                if !is_foreign(&part.media_type) {
                    blobs.push((digest, part.size));
                }
            }
        }
        if form != Form::Image {
            for value in wire.manifests.into_iter().flatten() {
                let Some(part) = descriptor("manifest", value, known)? else { continue };
                manifests.push(read(&part)?);
            }
        }
        let subject = wire.subject.as_ref().map(read).transpose()?;
        let artifact_type = wire.artifact_type.filter(|text| !text.is_empty()).or(config_type);
        Ok(Self { media_type, blobs, manifests, subject, artifact_type, annotations: wire.annotations })
    }

    /// Whether it is a list of others.
    pub(crate) fn is_index(media_type: &str) -> bool {
        matches!(media_type, OCI_INDEX | DOCKER_LIST)
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

fn invalid(words: String) -> Refusal {
    Refusal::new(Code::ManifestInvalid, words)
}

fn read(descriptor: &Descriptor) -> Result<Digest, Refusal> {
    descriptor.digest.parse::<Digest>().map_err(|error| invalid(error.to_string()))
}

/// A descriptor. In a form that we don't know, something else may stand there.
fn descriptor(what: &str, value: Value, known: bool) -> Result<Option<Descriptor>, Refusal> {
    match serde_json::from_value(value) {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(error) if known => Err(invalid(format!("a {what} of the manifest is no descriptor: {error}"))),
        Err(_) => Ok(None),
    }
}

/// What the manifest is: as the client and the manifest say, who must agree.
fn media_type(content_type: Option<&str>, wire: &Wire) -> Result<String, Refusal> {
    // Parameters such as charset don't change what it is.
    let said =
        content_type.and_then(|text| text.split(';').next()).map(str::trim).filter(|text| !text.is_empty());
    match (said, wire.media_type.as_deref()) {
        (Some(said), Some(written)) if said != written => {
            Err(invalid(format!("the Content-Type is {said}, but the manifest says that it is {written}")))
        }
        (Some(known), _) | (None, Some(known)) => Ok(known.to_owned()),
        (None, None) if wire.manifests.is_some() => Ok(OCI_INDEX.to_owned()),
        (None, None) => Ok(OCI_MANIFEST.to_owned()),
    }
}

/// A registry takes manifests of types that it doesn't know: the specification is "agnostic of
/// content types". They are JSON all the same, and nothing that a browser would run.
fn form(media_type: &str) -> Result<Form, Refusal> {
    let token = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte);
        (1..=127).contains(&text.len()) && text.bytes().all(plain)
    };
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => Ok(Form::Image),
        OCI_INDEX | DOCKER_LIST => Ok(Form::Index),
        old if old.starts_with(DOCKER_SCHEMA_1) => {
            Err(invalid(format!("{old} is of schema version 1, which is no longer pushed; push version 2")))
        }
        other => match other.strip_prefix("application/") {
            Some(rest) if token(rest) && rest.ends_with("json") => Ok(Form::Other),
            _ => Err(invalid(format!("{other:.120} is no media type of a manifest"))),
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &Value, content_type: &str) -> Result<Manifest, String> {
        Manifest::parse(value.to_string().as_bytes(), Some(content_type)).map_err(|refusal| refusal.message)
    }

    #[test]
    fn manifests_of_any_type_come_in_and_what_they_name_is_found() {
        let part =
            |bytes: &[u8]| json!({"mediaType": "x", "digest": Digest::of(bytes).to_string(), "size": 1});
        let artifact = json!({"mediaType": "application/vnd.oci.artifact.manifest.v1+json",
            "artifactType": "application/x", "blobs": [part(b"a"), part(b"b")], "subject": part(b"s")});
        let read = parse(&artifact, "application/vnd.oci.artifact.manifest.v1+json").expect("an artifact");
        assert_eq!((read.blobs.len(), read.subject), (2, Some(Digest::of(b"s"))));
        let strange = json!({"config": "a text", "layers": [part(b"a"), 7], "manifests": [part(b"m")]});
        let read = parse(&strange, "application/vnd.example.v1+json").expect("a manifest of its own kind");
        assert_eq!((read.blobs.len(), read.manifests), (1, vec![Digest::of(b"m")]));
        let odd = json!({"schemaVersion": 2, "config": "a text", "layers": []});
        assert!(parse(&odd, OCI_MANIFEST).is_err_and(|words| words.contains("no descriptor")));
    }

    #[test]
    fn types_that_a_browser_would_run_stay_out() {
        for bad in
            ["text/html", "application/xhtml+xml", "application/x\r\njson", "application/json/json", "json"]
        {
            assert!(parse(&json!({}), bad).is_err_and(|words| words.contains("no media type")), "{bad}");
        }
        let old = "application/vnd.docker.distribution.manifest.v1+prettyjws";
        assert!(parse(&json!({"schemaVersion": 1}), old).is_err_and(|words| words.contains("version 1")));
        assert!(parse(&json!({"schemaVersion": 1}), "application/vnd.x+json").is_err());
    }
}
