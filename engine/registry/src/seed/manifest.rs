//! Configurations, manifests and indexes around finished layers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::layer::{Finished, digest};
use super::{About, CREATED, Content, Error, SeedImage};

/// Whose media types a repository uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Docker's image manifest, schema 2.
    Docker,
    /// OCI's.
    Oci,
}

impl Family {
    fn index(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::Oci => "application/vnd.oci.image.index.v1+json",
        }
    }

    fn manifest(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.container.image.v1+json",
            Self::Oci => "application/vnd.oci.image.config.v1+json",
        }
    }

    fn layer(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

/// An image for one architecture: its layers and how it starts.
#[derive(Clone, Debug)]
pub struct Variant {
    architecture: String,
    layers: Vec<Finished>,
    config: BTreeMap<&'static str, Value>,
    /// Instructions that made no layer, told in the history behind the layers.
    settings: Vec<String>,
}

impl Variant {
    /// An image of these layers, the lowest first.
    #[must_use]
    pub fn new(architecture: &str, layers: Vec<Finished>) -> Self {
        let mut variant = Self {
            architecture: architecture.to_owned(),
            layers,
            config: BTreeMap::new(),
            settings: Vec::new(),
        };
        variant
            .config
            .insert("Env", json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]));
        variant
    }

    /// `CMD` in its exec form.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        let instruction = format!("CMD {}", json!(words));
        self.set("Cmd", json!(words), instruction)
    }

    /// `ENTRYPOINT` in its exec form.
    #[must_use]
    pub fn entrypoint(self, words: &[&str]) -> Self {
        let instruction = format!("ENTRYPOINT {}", json!(words));
        self.set("Entrypoint", json!(words), instruction)
    }

    /// `ENV`, one more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        if let Some(Value::Array(env)) = self.config.get_mut("Env") {
            env.push(json!(format!("{name}={value}")));
        }
        self.settings.push(format!("ENV {name}={value}"));
        self
    }

    /// `EXPOSE`.
    #[must_use]
    pub fn expose(self, port: &str) -> Self {
        self.set("ExposedPorts", json!({ port: {} }), format!("EXPOSE {port}"))
    }

    /// `VOLUME`.
    #[must_use]
    pub fn volume(self, path: &str) -> Self {
        self.set("Volumes", json!({ path: {} }), format!("VOLUME {}", json!([path])))
    }

    /// `LABEL`.
    #[must_use]
    pub fn label(self, name: &str, value: &str) -> Self {
        self.set("Labels", json!({ name: value }), format!("LABEL {name}={value}"))
    }

    fn set(mut self, key: &'static str, value: Value, instruction: String) -> Self {
        self.config.insert(key, value);
        self.settings.push(instruction);
        self
    }

    fn configuration(&self) -> Value {
        let made = self.layers.iter().map(|layer| json!({"created": CREATED, "created_by": layer.made_by}));
        let set = self
            .settings
            .iter()
            .map(|line| json!({"created": CREATED, "created_by": line, "empty_layer": true}));
        json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": CREATED,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": self.layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
            "history": made.chain(set).collect::<Vec<_>>(),
        })
    }
}

/// Some tags of a repository and the image, in its variants, that they name.
pub type Tagged<'a> = (&'a [&'a str], Vec<Variant>);

/// A repository whose tags name indexes, each over its variants.
///
/// # Errors
///
/// If JSON can't be written, which plain data never is a reason for.
pub fn image(
    repository: &str,
    family: Family,
    tagged: &[Tagged<'_>],
    about: About,
) -> Result<SeedImage, Error> {
    let mut image = SeedImage {
        repository: repository.to_owned(),
        tags: Vec::new(),
        blobs: Vec::new(),
        manifests: Vec::new(),
        about,
    };
    let mut indexes = Vec::new();
    for (tags, variants) in tagged {
        let mut entries = Vec::new();
        for variant in variants {
            let manifest = one(&mut image, family, variant)?;
            let mut entry = descriptor(&manifest);
            entry["platform"] = json!({"architecture": variant.architecture, "os": "linux"});
            entries.push(entry);
            add(&mut image.manifests, manifest);
        }
        let body = json!({"schemaVersion": 2, "mediaType": family.index(), "manifests": entries});
        let index = content(family.index(), serde_json::to_vec_pretty(&body)?);
        image.tags.extend(tags.iter().map(|tag| ((*tag).to_owned(), index.digest.clone())));
        add(&mut indexes, index);
    }
    image.manifests.extend(indexes);
    Ok(image)
}

/// The manifest of one variant; its layers and configuration go into the image.
fn one(image: &mut SeedImage, family: Family, variant: &Variant) -> Result<Content, Error> {
    let config = content(family.config(), serde_json::to_vec(&variant.configuration())?);
    let mut layers = Vec::new();
    for layer in &variant.layers {
        let blob = content(family.layer(), layer.bytes.clone());
        layers.push(descriptor(&blob));
        add(&mut image.blobs, blob);
    }
    let body = json!({
        "schemaVersion": 2,
        "mediaType": family.manifest(),
        "config": descriptor(&config),
        "layers": layers,
    });
    add(&mut image.blobs, config);
    Ok(content(family.manifest(), serde_json::to_vec_pretty(&body)?))
}

fn content(media_type: &str, bytes: Vec<u8>) -> Content {
    Content { media_type: media_type.to_owned(), digest: digest(&bytes), bytes }
}

fn descriptor(content: &Content) -> Value {
    json!({"mediaType": content.media_type, "size": content.bytes.len(), "digest": content.digest})
}

/// Adds a piece of content once.
fn add(contents: &mut Vec<Content>, content: Content) {
    if !contents.iter().any(|other| other.digest == content.digest) {
        contents.push(content);
    }
}
