//! The tree of a spool: what the archive's entries would make, in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;

use rustix::io::Errno;

use super::super::tree::Clean;
use super::super::write::Attributes;
use super::super::{Error, shown};
use super::{Facts, Id, Kind};

/// An index takes at most so many bytes of memory: a million files with names of the usual length.
const LARGEST: u64 = 256 << 20;

/// The longest path and the longest name in it that the kernel takes, in bytes.
const LONGEST_PATH: usize = 4095;
const LONGEST_NAME: usize = 255;

/// How many links are followed on a way, as many as the kernel follows.
const MOST_LINKS: u32 = 40;

/// What maps and allocations take beside a node and its name, about, in bytes.
const OVERHEAD: u64 = 64;

/// The bits of a mode that tell the kind.
const FOLDER: u32 = 0o040_000;

pub(super) const ROOT: Id = Id(0);

/// One file, folder or link.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) modified: (i64, u32),
    pub(super) size: u64,
    pub(super) names: u32,
    pub(super) content: Content,
    pub(super) attributes: Option<Box<Attributes>>,
}

/// What it holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Bytes of the spool, from there on.
    File {
        at: u64,
        sum: OnceLock<[u8; 32]>,
    },
    Folder(BTreeMap<Box<[u8]>, Id>),
    Link(Box<[u8]>),
    Nothing,
}

impl Node {
    pub(super) fn facts(&self, id: Id) -> Facts {
        Facts {
            kind: self.kind,
            mode: self.mode,
            owner: self.owner,
            modified: self.modified,
            size: self.size,
            names: u64::from(self.names),
            file: (0, u64::from(id.0)),
        }
    }

    /// A folder that no entry of the archive tells of.
    fn implied(modified: (i64, u32)) -> Self {
        Self {
            kind: Kind::Folder,
            mode: FOLDER | 0o755,
            owner: (0, 0),
            modified,
            size: 0,
            names: 1,
            content: Content::Folder(BTreeMap::new()),
            attributes: None,
        }
    }

    fn cost(&self) -> u64 {
        let attributes = self.attributes.iter().flat_map(|all| all.iter());
        let attributes: usize = attributes.map(|(name, value)| name.len() + value.len()).sum();
        let link = if let Content::Link(target) = &self.content { target.len() } else { 0 };
        (size_of::<Self>() + attributes + link) as u64
    }
}

#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
    bytes: u64,
    /// The folder of the last entry: archives list a folder's files together.
    last: Option<(Vec<Vec<u8>>, Found)>,
}

/// A node, and how long the path to it is that has no links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) id: Id,
    length: usize,
}

impl Index {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::implied((0, 0))], bytes: 0, last: None }
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn names(&self, id: Id) -> io::Result<&BTreeMap<Box<[u8]>, Id>> {
        match &self.node(id).content {
            Content::Folder(names) => Ok(names),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    fn names_mut(&mut self, id: Id) -> Option<&mut BTreeMap<Box<[u8]>, Id>> {
        match &mut self.node_mut(id).content {
            Content::Folder(names) => Some(names),
            _ => None,
        }
    }

    pub(super) fn child(&self, folder: Id, name: &[u8]) -> Option<Id> {
        self.names(folder).ok()?.get(name).copied()
    }

    /// What lies at a path; all links are followed, inside the tree.
    pub(super) fn find(&self, path: &[u8]) -> io::Result<Id> {
        if path.len() > LONGEST_PATH {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(self.walk(vec![Found { id: ROOT, length: 0 }], path)?.id)
    }

    /// Goes on from a place: `above` are the folders to it, the root first.
    fn walk(&self, mut above: Vec<Found>, path: &[u8]) -> io::Result<Found> {
        let mut left: Vec<&[u8]> = path.rsplit(|byte| *byte == b'/').collect();
        let mut links = 0;
        // The root is never taken away.
        while let (Some(here), Some(part)) = (above.last().copied(), left.pop()) {
            let names = self.names(here.id)?;
            match part {
                b"" | b"." => continue,
                b".." => {
                    if above.len() > 1 {
                        above.pop();
                    }
                    continue;
                }
                _ => {}
            }
            let id = *names.get(part).ok_or(Errno::NOENT)?;
            if let Content::Link(target) = &self.node(id).content {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                if target.starts_with(b"/") {
                    above.truncate(1);
                }
                left.extend(target.rsplit(|byte| *byte == b'/'));
                continue;
            }
            above.push(Found { id, length: here.length + part.len() + 1 });
        }
        above.last().copied().ok_or_else(|| Errno::NOENT.into())
    }

    /// The folder of a clean path; what of it is missing is made, if `make` gives it a time.
    pub(super) fn folder(&mut self, parts: &[Vec<u8>], make: Option<(i64, u32)>) -> Result<Found, Error> {
        if let Some((known, found)) = &self.last
            && known == parts
        {
            return Ok(*found);
        }
        let failed = |errno: io::Error| Error::Entry {
            act: if make.is_some() { "make the parent of" } else { "find the target of the hard link" },
            path: shown(&parts.join(&b'/')),
            source: errno,
        };
        let mut here = Found { id: ROOT, length: 0 };
        for (count, part) in parts.iter().enumerate() {
            let child = self.names(here.id).map_err(failed)?.get(part.as_slice()).copied();
            here = match (child, make) {
                (Some(id), _) if matches!(self.node(id).content, Content::Link(_)) => {
                    let way = parts[..=count].join(&b'/');
                    // A link that leads nowhere is in the way of a folder.
                    self.walk(vec![Found { id: ROOT, length: 0 }], &way).map_err(|error| {
                        let dangling = error.kind() == io::ErrorKind::NotFound && make.is_some();
                        failed(if dangling { Errno::EXIST.into() } else { error })
                    })?
                }
                (Some(id), _) => Found { id, length: here.length + part.len() + 1 },
                (None, Some(time)) => self.add(here, part, Node::implied(time))?,
                (None, None) => return Err(failed(Errno::NOENT.into())),
            };
        }
        self.names(here.id).map_err(failed)?;
        self.last = Some((parts.to_vec(), here));
        Ok(here)
    }

    /// Puts something new into a folder; what had its name gives way.
    pub(super) fn add(&mut self, folder: Found, name: &[u8], node: Node) -> Result<Found, Error> {
        let id = Id(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.pay(node.cost())?;
        let found = self.name(folder, name, id)?;
        self.nodes.push(node);
        Ok(found)
    }

    /// Another name of a file that is there.
    pub(super) fn link(&mut self, folder: Found, name: &[u8], id: Id) -> Result<Found, Error> {
        let found = self.name(folder, name, id)?;
        let names = &mut self.node_mut(id).names;
        *names = names.saturating_add(1);
        Ok(found)
    }

    fn name(&mut self, folder: Found, name: &[u8], id: Id) -> Result<Found, Error> {
        let length = folder.length + name.len() + 1;
        if name.len() > LONGEST_NAME || length > LONGEST_PATH {
            return Err(Error::Refused {
                path: shown(name),
                reason: "its path is longer than any that the kernel takes",
            });
        }
        self.pay(name.len() as u64 + OVERHEAD)?;
        let before = self.names_mut(folder.id).and_then(|names| names.insert(name.into(), id));
        if let Some(before) = before {
            let names = &mut self.node_mut(before).names;
            *names = names.saturating_sub(1);
            // A link that led somewhere may be another one now.
            self.last = None;
        }
        Ok(Found { id, length })
    }

    pub(super) fn pay(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > LARGEST {
            return Err(Error::TooMuch { what: "bytes of names and attributes", limit: LARGEST });
        }
        Ok(())
    }

    /// The place of a clean path's parent, and the file there that is no link's target but what is named.
    pub(super) fn target(&mut self, clean: &Clean) -> Result<Id, Error> {
        let missing = |errno: Errno| Error::Entry {
            act: "find the target of the hard link",
            path: shown(&clean.parts().join(&b'/')),
            source: errno.into(),
        };
        let (parent, name) = clean.split().ok_or_else(|| missing(Errno::PERM))?;
        let folder = self.folder(parent, None).map_err(|error| match error {
            Error::Entry { act, source, .. } => {
                Error::Entry { act, path: shown(&clean.parts().join(&b'/')), source }
            }
            other => other,
        })?;
        let id = self.child(folder.id, name).ok_or_else(|| missing(Errno::NOENT))?;
        if self.node(id).kind == Kind::Folder { Err(missing(Errno::PERM)) } else { Ok(id) }
    }

    /// See [`Spool::leave_out`](super::Spool::leave_out).
    pub(super) fn leave_out(&mut self, ignores: &dyn Fn(&str) -> bool, prunes: &dyn Fn(&str) -> bool) {
        let mut path = String::new();
        let mut open = vec![self.visit(ROOT, Box::default(), 0, false)];
        while let Some(visit) = open.last_mut() {
            let (folder, length) = (visit.folder, visit.length);
            path.truncate(length);
            if let Some((name, id)) = visit.left.pop() {
                if length > 0 {
                    path.push('/');
                }
                path.push_str(&String::from_utf8_lossy(&name));
                let out = ignores(&path);
                if self.node(id).kind != Kind::Folder || (out && prunes(&path)) {
                    if out {
                        self.remove(folder, &name);
                    }
                } else {
                    let visit = self.visit(id, name, path.len(), out);
                    open.push(visit);
                }
                continue;
            }
            let Some(done) = open.pop() else { break };
            if let Some(above) = open.last().filter(|_| done.out) {
                if self.names(done.folder).is_ok_and(BTreeMap::is_empty) {
                    self.remove(above.folder, &done.name);
                } else {
                    let node = self.node_mut(done.folder);
                    (node.mode, node.owner, node.attributes) = (FOLDER | 0o755, (0, 0), None);
                }
            }
        }
        self.last = None;
    }

    fn visit(&self, folder: Id, name: Box<[u8]>, length: usize, out: bool) -> Visit {
        let names = self.names(folder).into_iter().flatten();
        Visit { folder, name, length, out, left: names.map(|(name, id)| (name.clone(), *id)).collect() }
    }

    fn remove(&mut self, folder: Id, name: &[u8]) {
        let gone = self.names_mut(folder).and_then(|names| names.remove(name));
        if let Some(gone) = gone {
            let names = &mut self.node_mut(gone).names;
            *names = names.saturating_sub(1);
        }
    }
}

/// A folder that is being looked through.
struct Visit {
    folder: Id,
    name: Box<[u8]>,
    /// How long its path is.
    length: usize,
    /// Whether it is to be left out itself.
    out: bool,
    left: Vec<(Box<[u8]>, Id)>,
}
