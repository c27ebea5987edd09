//! Deleting images, by Docker's rules: a name is taken off first; with its last
//! name the image goes, unless something needs it.
//!
//! Conflicts are *hard* (a running container: force does not help) or *soft* (a
//! stopped container, names in several repositories).

use glassdock_trace::{Body, Trace};

use super::{Error, Image, Images};
use crate::digest::{ChainId, Digest};
use crate::reference::Reference;

/// A container that uses an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The container's id.
    pub id: String,
    /// Whether it runs (or is paused).
    pub running: bool,
}

/// What a deletion did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken off the image.
    Untagged {
        /// The familiar form of the name.
        reference: String,
        /// The image's id.
        image: Digest,
    },
    /// The image is gone.
    Image(Digest),
    /// A layer is gone, the uppermost first.
    Layer(ChainId),
}

impl Images {
    /// Deletes what `text` means: a name, or an image by its id. `using` tells which
    /// containers use an image.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or [`Error::Conflict`] in Docker's words.
    pub fn delete(
        &self,
        trace: &Trace,
        text: &str,
        force: bool,
        using: &dyn Fn(&Digest) -> Vec<User>,
    ) -> Result<Vec<Removed>, Error> {
        let image = self.resolve(text)?;
        let mut removed = Vec::new();
        let by_id = image.id.to_string().starts_with(text) || image.id.hex().starts_with(text);
        if by_id {
            if is_single(&image.references) {
                conflict(&image, force, false, using)?;
                for name in &image.references {
                    self.untag(trace, &image, name, &mut removed)?;
                }
            }
            self.delete_image(trace, &image.id, force, false, using, &mut removed)?;
            return Ok(removed);
        }
        let name = Reference::parse(text)?;
        let name = name.digest().map_or_else(|| name.with_default_tag(), |digest| name.with_digest(digest));
        if let Some(user) = using(&image.id).first().filter(|_| !force && is_single(&image.references)) {
            return Err(Error::Conflict(format!(
                "unable to remove repository reference {text:?} (must force) - container {} is using its referenced image {}",
                short(&user.id),
                image.id.short()
            )));
        }
        self.untag(trace, &image, &name, &mut removed)?;
        let mut rest: Vec<Reference> =
            image.references.iter().filter(|other| **other != name).cloned().collect();
        let same_repository = |other: &Reference| other.name() == name.name();
        let still_tagged = rest.iter().any(|other| other.digest().is_none() && same_repository(other));
        if name.digest().is_none() && !still_tagged {
            for other in rest.iter().filter(|other| same_repository(other)) {
                self.untag(trace, &image, other, &mut removed)?;
            }
            rest.retain(|other| !same_repository(other));
        }
        if rest.is_empty() {
            self.delete_image(trace, &image.id, force, true, using, &mut removed)?;
        }
        Ok(removed)
    }

    fn untag(
        &self,
        trace: &Trace,
        image: &Image,
        name: &Reference,
        removed: &mut Vec<Removed>,
    ) -> Result<(), Error> {
        let body = Body::ImageUntag { reference: name.familiar(), image: image.id.to_string() };
        trace.step(body, |_| self.change(|| self.remove_name(name)))?;
        removed.push(Removed::Untagged { reference: name.familiar(), image: image.id.clone() });
        Ok(())
    }

    /// Deletes an image with the names that it still has. `quiet`: a name was taken
    /// off already, so an image that has to stay for a container is no error.
    fn delete_image(
        &self,
        trace: &Trace,
        id: &Digest,
        force: bool,
        quiet: bool,
        using: &dyn Fn(&Digest) -> Vec<User>,
        removed: &mut Vec<Removed>,
    ) -> Result<(), Error> {
        // Someone else may have deleted it meanwhile.
        let Some(image) = self.by_id(id) else { return Ok(()) };
        let users = using(id);
        if let Err(error) = conflict(&image, force, true, using) {
            return if quiet && !users.is_empty() { Ok(()) } else { Err(error) };
        }
        for name in &image.references {
            self.untag(trace, &image, name, removed)?;
        }
        let body = Body::ImageDelete { image: id.to_string(), layers: Vec::new() };
        let gone = trace.step(body, |span| {
            let gone = self.change(|| {
                self.remove_rows(id, !users.is_empty())?;
                if users.is_empty() { self.sweep(&image) } else { Ok(Vec::new()) }
            })?;
            if let Body::ImageDelete { layers, .. } = span.body_mut() {
                *layers = gone.iter().map(ToString::to_string).collect();
            }
            Ok::<_, Error>(gone)
        })?;
        removed.push(Removed::Image(id.clone()));
        removed.extend(gone.into_iter().map(Removed::Layer));
        Ok(())
    }
}

/// At most one tag, and all names in one repository.
fn is_single(references: &[Reference]) -> bool {
    let tags = references.iter().filter(|name| name.digest().is_none()).count();
    let first = references.first().map(Reference::name);
    tags <= 1 && references.iter().all(|name| Some(name.name()) == first)
}

fn conflict(
    image: &Image,
    force: bool,
    names: bool,
    using: &dyn Fn(&Digest) -> Vec<User>,
) -> Result<(), Error> {
    let users = using(&image.id);
    let refuse = |how: &str, why: String| {
        Err(Error::Conflict(format!("unable to delete {} ({how}) - {why}", image.id.short())))
    };
    if let Some(user) = users.iter().find(|user| user.running) {
        return refuse(
            "cannot be forced",
            format!("image is being used by running container {}", short(&user.id)),
        );
    }
    if force {
        return Ok(());
    }
    if names && !image.references.is_empty() {
        return refuse("must be forced", "image is referenced in multiple repositories".to_owned());
    }
    match users.first() {
        Some(user) => {
            refuse("must be forced", format!("image is being used by stopped container {}", short(&user.id)))
        }
        None => Ok(()),
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
