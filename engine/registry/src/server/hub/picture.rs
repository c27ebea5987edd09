//! What a tag is: its platforms, and of one of them the layers, each with its size and the
//! instruction that made it, and how a container of it starts.

use glassdock_image::config::{Config, Process};
use glassdock_image::manifest::{Document, Manifest};
use glassdock_image::{Descriptor, Digest, Platform};

use super::shelves::Shelves;
use crate::server::error::{Code, Refusal};
use crate::server::name::Name;
use crate::server::storage::manifests::{Reference, Stored};

/// An index has at most so many entries that are looked at.
const PLATFORMS: usize = 50;
/// A stack shows at most so many layers and settings.
const STEPS: usize = 500;

/// What a tag or digest stands for, looked at from outside.
pub(super) struct Picture {
    /// Of the manifest or index that the name stands for.
    pub(super) digest: Digest,
    pub(super) media_type: String,
    /// The platforms that it has, each with its manifest. One, where it is no index.
    pub(super) variants: Vec<Variant>,
}

/// An image for one platform.
pub(super) struct Variant {
    pub(super) platform: String,
    pub(super) digest: Digest,
    /// What a pull transfers: configuration and layers, in bytes.
    pub(super) size: u64,
    manifest: Manifest,
    config: Config,
}

/// An image's layers and settings, the lowest first.
pub(super) struct Step {
    /// The instruction that made it; empty, where the image doesn't tell.
    pub(super) instruction: String,
    /// What it made; `None` for an instruction that only sets something.
    pub(super) layer: Option<Descriptor>,
}

/// Looks at what a name stands for. Parts that are missing or no images are left out: a
/// registry keeps other things too.
pub(super) fn picture(shelves: &Shelves, name: &Name, reference: &Reference) -> Result<Picture, Refusal> {
    let stored = shelves.manifest(name, reference)?;
    let mut variants = Vec::new();
    match document(&stored)? {
        Document::Manifest(manifest) => {
            variants.extend(variant(shelves, name, stored.digest.clone(), *manifest, None));
        }
        Document::Index(index) => {
            for entry in index.manifests.into_iter().take(PLATFORMS) {
                let reference = Reference::Digest(entry.digest.clone());
                let Ok(inner) = shelves.manifest(name, &reference) else { continue };
                if let Ok(Document::Manifest(manifest)) = document(&inner) {
                    variants.extend(variant(shelves, name, entry.digest, *manifest, entry.platform));
                }
            }
        }
    }
    Ok(Picture { digest: stored.digest, media_type: stored.media_type, variants })
}

fn document(stored: &Stored) -> Result<Document, Refusal> {
    Document::parse(&stored.media_type, &stored.bytes)
        .map_err(|error| Refusal::new(Code::ManifestInvalid, error.to_string()))
}

fn variant(
    shelves: &Shelves,
    name: &Name,
    digest: Digest,
    manifest: Manifest,
    platform: Option<Platform>,
) -> Option<Variant> {
    let bytes = shelves.config(name, &manifest.config.digest).ok()?;
    // Of something that is no image, such as a signature, the configuration is of another shape.
    let config: Config = serde_json::from_slice(&bytes).ok()?;
    let platform = platform.unwrap_or_else(|| config.platform());
    let size = manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size));
    Some(Variant { platform: platform.to_string(), digest, size, manifest, config })
}

impl Picture {
    /// The variant for a platform, or the first.
    pub(super) fn variant(&self, platform: Option<&str>) -> Option<&Variant> {
        let wanted = platform.and_then(|wanted| self.variants.iter().find(|known| known.platform == wanted));
        wanted.or_else(|| self.variants.first())
    }

    /// When the newest of its images was made.
    pub(super) fn created(&self) -> Option<&str> {
        self.variants.iter().filter_map(Variant::created).max()
    }
}

impl Variant {
    /// When it was made, RFC 3339.
    pub(super) fn created(&self) -> Option<&str> {
        self.config.created.as_deref()
    }

    /// How a container of it starts.
    pub(super) fn process(&self) -> &Process {
        &self.config.config
    }

    /// The digest of its configuration, which is the image's id.
    pub(super) fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// The history with the layers that belong to it. Where there is less history than there
    /// are layers, the rest of them have no instruction.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut layers = self.manifest.layers.iter().cloned();
        let mut steps: Vec<Step> = self
            .config
            .history
            .iter()
            .take(STEPS)
            .map(|line| Step {
                instruction: instruction(line.created_by.as_deref().unwrap_or_default()),
                layer: if line.empty_layer { None } else { layers.next() },
            })
            .collect();
        let left = STEPS.saturating_sub(steps.len());
        steps.extend(layers.take(left).map(|layer| Step { instruction: String::new(), layer: Some(layer) }));
        steps
    }
}

/// An instruction as a Dockerfile has it. Builders write what they ran: `/bin/sh -c #(nop)  CMD
/// ["sh"]` for a setting, `/bin/sh -c apt-get …` for a RUN, `RUN /bin/sh -c … # buildkit`.
fn instruction(created_by: &str) -> String {
    let text = created_by.trim();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim_end();
    let shell = "/bin/sh -c ";
    let plain = match text.strip_prefix(shell) {
        Some(rest) => match rest.trim_start().strip_prefix("#(nop)") {
            Some(setting) => setting.trim_start().to_owned(),
            None => format!("RUN {rest}"),
        },
        None => match text.strip_prefix("RUN ").and_then(|rest| rest.strip_prefix(shell)) {
            Some(rest) => format!("RUN {rest}"),
            None => text.to_owned(),
        },
    };
    plain.chars().take(4000).collect()
}

#[cfg(test)]
mod tests {
    use super::instruction;

    #[test]
    fn instructions_read_as_in_a_dockerfile() {
        for (made, shown) in [
            ("/bin/sh -c #(nop)  CMD [\"sh\"]", "CMD [\"sh\"]"),
            ("/bin/sh -c apt-get update", "RUN apt-get update"),
            ("RUN /bin/sh -c make # buildkit", "RUN make"),
            ("COPY hello / # buildkit", "COPY hello /"),
            ("COPY java /usr/bin/ # says so", "COPY java /usr/bin/ # says so"),
            ("", ""),
        ] {
            assert_eq!(instruction(made), shown);
        }
    }
}
