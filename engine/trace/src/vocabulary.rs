//! The words of a trace: what can happen, and what is told of it.
//!
//! The vocabulary is closed. A new kind is added here, together with its
//! narration (`narration.yaml`) and its entry in the book's glossary; a test
//! fails while one of them is missing.
//!
//! Fields that only the act can tell (a size, a pid) are optional: a `begin`
//! has what is known before, the `end` has all.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fields::{Field, take};

/// How closely an event is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A step: what a learner follows.
    Step,
    /// Under a step: one system call, one request, one file.
    Evidence,
}

/// Declares every kind once: its dotted name, its level, and its typed fields.
/// From that come [`Body`] (what an event says), [`Kind`] (its name alone), and
/// the JSON Schema.
macro_rules! vocabulary {
    ($($(#[$doc:meta])* $level:ident $kind:ident = $name:literal { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {
        /// What happened, to what: the `kind` and its `fields` in an event.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(test, derive(JsonSchema), schemars(tag = "kind", content = "fields"))]
        #[expect(missing_docs, reason = "most fields are their own name; those that aren't have a line")]
        pub enum Body {
            $($(#[$doc])* #[cfg_attr(test, schemars(rename = $name))] $kind {
                $($(#[$field_doc])* #[cfg_attr(test, schemars(default, skip_serializing_if = "Field::is_silent"))] $field: $type),*
            },)*
        }

        /// The name of what happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Body {
            /// What stands where the body was.
            pub(crate) fn nothing() -> Self {
                Self::Operation { command: Vec::new(), status: None, dropped: None }
            }

            /// The kind of this body.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind { .. } => Kind::$kind,)* }
            }

            /// Shows each field that says something, in the vocabulary's order, with its name.
            pub(crate) fn each_field(&self, show: &mut dyn FnMut(&'static str, &dyn Field)) {
                let mut told = |name, field: &dyn Field| if !field.is_silent() { show(name, field) };
                match self {
                    $(Self::$kind { $($field),* } => { $(told(stringify!($field), $field);)* })*
                }
            }

            /// The body of a kind with these fields; those that the kind doesn't have are left over.
            pub(crate) fn read(kind: Kind, fields: &mut Map<String, Value>) -> serde_json::Result<Self> {
                Ok(match kind {
                    $(Kind::$kind => Self::$kind { $($field: take(fields, stringify!($field))?),* },)*
                })
            }
        }

        impl Kind {
            /// Every kind, in the vocabulary's order.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The dotted name, such as `layer.mount`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// The names of the fields that events of this kind can have.
            #[must_use]
            pub fn fields(self) -> &'static [&'static str] {
                match self { $(Self::$kind => &[$(stringify!($field)),*],)* }
            }

            /// Whether a learner follows it as a step, or finds it under one.
            #[must_use]
            pub fn level(self) -> Level {
                match self { $(Self::$kind => Level::$level,)* }
            }

            /// The kind of that dotted name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

vocabulary! {
    // ---- the operation, and the API that it came in by ----

    /// A whole operation: one command of a user, or one request of another client.
    Step Operation = "operation" {
        /// The command as typed, or the request's method and path.
        command: Vec<String>,
        /// The exit status that the client ended with.
        status: Option<i32>,
        /// How many events were lost: not written, or dropped by a full channel.
        dropped: Option<u64>,
    }
    /// A request to the engine's API.
    Evidence ApiRequest = "api.request" { method: String, path: String, status: Option<u16> }

    // ---- images and the names that they go by ----

    /// A reference is looked up: which image does this name mean?
    Step ImageResolve = "image.resolve" {
        reference: String,
        /// Where it was found: `local`, or the registry's host.
        source: Option<String>,
        /// The digest of the manifest, or the id of the image.
        digest: Option<String>,
        /// The platform that was chosen from an index.
        platform: Option<String>,
    }
    /// A name is put on an image.
    Step ImageTag = "image.tag" { reference: String, image: String }
    /// A name is taken off an image.
    Step ImageUntag = "image.untag" { reference: String, image: String }
    /// An image, and each layer that nothing else needs, is deleted.
    Step ImageDelete = "image.delete" { image: String, layers: Vec<String> }

    // ---- the registry, seen from the client and from the server ----

    /// One HTTP request to a registry.
    Evidence RegistryRequest = "registry.request" {
        method: String,
        url: String,
        status: Option<u16>,
        /// Bytes of the body that was sent.
        sent: Option<u64>,
        /// Bytes of the body that was received.
        received: Option<u64>,
        /// Which try this is, from 1.
        attempt: u32,
    }
    /// The registry asks who is there.
    Evidence RegistryChallenge = "registry.challenge" { scheme: String, realm: Option<String>, service: Option<String>, scope: Option<String> }
    /// A token is asked for; the token itself is never in a trace.
    Evidence RegistryToken = "registry.token" { realm: String, service: Option<String>, scope: Option<String>, expires_in: Option<u64> }
    /// The registry's server answers a request.
    Evidence RegistryServe = "registry.serve" { method: String, path: String, status: Option<u16>, sent: Option<u64>, received: Option<u64>, client: Option<String> }
    /// The registry's server asks the object storage that it keeps its content in.
    Evidence RegistryStore = "registry.store" { method: String, url: String, status: Option<u16>, sent: Option<u64>, received: Option<u64> }

    // ---- blobs: pieces of content, named by their digest ----

    /// A blob is fetched from a registry.
    Step BlobFetch = "blob.fetch" {
        digest: String,
        /// The size that the manifest promises, in bytes.
        size: u64,
        media_type: Option<String>,
        /// From which byte the fetch goes on, after a break.
        offset: Option<u64>,
    }
    /// A blob is here already.
    Evidence BlobReuse = "blob.reuse" { digest: String, size: u64 }
    /// A blob's bytes are held against its digest.
    Evidence BlobVerify = "blob.verify" { digest: String, size: u64, computed: Option<String> }
    /// A blob is uploaded to a registry.
    Step BlobUpload = "blob.upload" { digest: String, size: u64, media_type: Option<String> }
    /// A registry takes a blob over from another of its repositories.
    Step BlobMount = "blob.mount" { digest: String, from: String }

    // ---- layers ----

    /// A layer's archive becomes a directory.
    Step LayerUnpack = "layer.unpack" {
        diff_id: String,
        chain_id: String,
        media_type: Option<String>,
        entries: Option<u64>,
        bytes: Option<u64>,
    }
    /// A mark that hides what a lower layer has.
    Evidence LayerWhiteout = "layer.whiteout" { path: String, opaque: bool }
    /// Layers are stacked to one file system.
    Step LayerMount = "layer.mount" {
        /// The read-only layers, the uppermost first.
        lower: Vec<String>,
        upper: Option<String>,
        work: Option<String>,
        /// Where the stack is attached; a stack without a place is only held by a descriptor.
        target: Option<String>,
    }
    /// A stack of layers is taken down.
    Step LayerUnmount = "layer.unmount" { target: String }
    /// What a container changed is read from its upper layer.
    Step LayerDiff = "layer.diff" {
        upper: String,
        /// What goes into the archive of a commit, directories too, whether it is new or changed.
        archived: Option<u64>,
        /// Held against the layers below, as `docker diff` does.
        added: Option<u64>,
        changed: Option<u64>,
        deleted: Option<u64>,
    }
    /// Changes become a layer of an image.
    Step LayerCommit = "layer.commit" { diff_id: String, chain_id: String, digest: Option<String>, size: Option<u64> }

    // ---- files that go in and out of a container ----

    /// Files are read out of a container's tree as an archive.
    Step FilesRead = "files.read" {
        /// The tree that the path is looked up in: the root of the first process, or the layers stacked anew.
        root: String,
        path: String,
        entries: Option<u64>,
        bytes: Option<u64>,
    }
    /// An archive's files are written into a container's tree.
    Step FilesWrite = "files.write" {
        /// As in `files.read`.
        root: String,
        path: String,
        entries: Option<u64>,
        bytes: Option<u64>,
    }

    // ---- namespaces ----

    /// New namespaces, and the process that is first in them.
    Step NamespaceCreate = "namespace.create" { namespaces: Vec<String>, pid: Option<u32> }
    /// A process moves into namespaces that exist.
    Step NamespaceJoin = "namespace.join" { namespaces: Vec<String>, path: Option<String> }
    /// Users or groups of a user namespace are mapped to those of the host.
    Evidence IdmapWrite = "idmap.write" { path: String, lines: Vec<String> }
    /// The names that a UTS namespace has for its machine.
    Evidence HostnameSet = "hostname.set" { hostname: Option<String>, domainname: Option<String> }
    /// A kernel parameter of the container's namespaces is set.
    Evidence SysctlSet = "sysctl.set" { name: String, value: String }

    // ---- mounts ----

    /// A file system is attached to the tree.
    Evidence MountAttach = "mount.attach" { target: String, fstype: Option<String>, source: Option<String>, flags: Vec<String>, data: Option<String> }
    /// A file system is detached from the tree.
    Evidence MountDetach = "mount.detach" { target: String, flags: Vec<String> }
    /// Whether mounts below a place are seen elsewhere is changed.
    Evidence MountPropagation = "mount.propagation" { target: String, propagation: String, recursive: bool }
    /// A place is made read-only.
    Evidence MountReadonly = "mount.readonly" { target: String, recursive: bool }
    /// A place is hidden under something empty.
    Evidence MountMask = "mount.mask" { target: String, source: String }
    /// A device node or a link in the container's `/dev`.
    Evidence DeviceCreate = "device.create" { path: String, device: Option<String>, link: Option<String> }
    /// The process changes the root of its file system.
    Step RootfsPivot = "rootfs.pivot" { root: String }

    // ---- limits ----

    /// A control group is made.
    Step CgroupCreate = "cgroup.create" { path: String, version: u8, controllers: Vec<String> }
    /// A limit is written.
    Evidence CgroupSet = "cgroup.set" { path: String, file: String, value: String }
    /// A process is put under a control group.
    Evidence CgroupAttach = "cgroup.attach" { path: String, pid: u32 }
    /// The kernel's own list of the processes in a control group is read.
    Step CgroupRead = "cgroup.read" { path: String, pids: Vec<u32> }
    /// A control group is removed.
    Step CgroupRemove = "cgroup.remove" { path: String }
    /// A resource limit of a process.
    Evidence RlimitSet = "rlimit.set" { resource: String, soft: u64, hard: u64 }

    // ---- privilege ----

    /// The capabilities that the process keeps.
    Step CapabilitySet = "capability.set" {
        bounding: Vec<String>,
        effective: Vec<String>,
        permitted: Vec<String>,
        inheritable: Vec<String>,
        ambient: Vec<String>,
    }
    /// The filter of system calls.
    Step SeccompLoad = "seccomp.load" {
        /// What happens to a call that the filter does not name.
        default_action: String,
        /// How many calls it names.
        syscalls: u32,
        /// How many instructions of BPF it has.
        instructions: Option<u32>,
        no_new_privileges: bool,
    }
    /// The user and groups that the process runs as.
    Step UserSet = "user.set" { uid: u32, gid: u32, groups: Vec<u32> }

    // ---- networks ----

    /// A bridge is made.
    Step NetBridge = "net.bridge" { name: String, address: Option<String> }
    /// A link is made, moved, brought up or deleted.
    Step NetLink = "net.link" { name: String, action: String, peer: Option<String>, bridge: Option<String>, netns: Option<String> }
    /// A link gets an address.
    Evidence NetAddr = "net.addr" { link: String, address: String }
    /// A route is set.
    Evidence NetRoute = "net.route" { destination: String, gateway: Option<String>, link: Option<String> }
    /// A rule of address translation or filtering.
    Step NetNat = "net.nat" { table: String, chain: String, rule: String, action: String }
    /// A port of the host leads to a container.
    Step PortPublish = "port.publish" { protocol: String, host: String, container: String }

    // ---- processes ----

    /// A process is started.
    Step ProcessSpawn = "process.spawn" { role: String, argv: Vec<String>, pid: Option<u32> }
    /// A process becomes another program.
    Step ProcessExec = "process.exec" { argv: Vec<String>, path: Option<String>, cwd: Option<String>, env: u32 }
    /// A signal is sent.
    Evidence ProcessSignal = "process.signal" { pid: u32, signal: String }
    /// A container's process ended.
    Step ProcessExit = "process.exit" { pid: u32, status: i32, signal: Option<String> }
    /// What is left of a process is collected by its parent.
    Evidence ProcessReap = "process.reap" { pid: u32 }
    /// Standard input and outputs are connected.
    Evidence StdioAttach = "stdio.attach" { streams: Vec<String>, tty: bool }

    // ---- containers and volumes ----

    /// A container goes from one state to another.
    Step ContainerState = "container.state" { container: String, name: Option<String>, from: Option<String>, to: String }
    /// A volume is made.
    Step VolumeCreate = "volume.create" { name: String, path: Option<String> }
    /// A volume is put into a container.
    Evidence VolumeMount = "volume.mount" { name: String, target: String, read_only: bool }
    /// A volume is removed.
    Step VolumeRemove = "volume.remove" { name: String }

    /// An instruction of a Dockerfile is carried out.
    Step BuildInstruction = "build.instruction" { instruction: String, line: u64, stage: Option<String>, image: Option<String> }
    /// What an instruction would make is known from an earlier build.
    Step CacheHit = "cache.hit" { key: String, layer: Option<String> }
    /// What an instruction makes is not known: it must be carried out.
    Step CacheMiss = "cache.miss" { key: String, reason: String }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_dotted() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(*kind));
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let body =
            Body::ImageResolve { reference: "busybox".into(), source: None, digest: None, platform: None };
        let line = serde_json::to_string(&body).expect("a body is plain data");
        assert_eq!(line, r#"{"kind":"image.resolve","fields":{"reference":"busybox"}}"#);
        assert_eq!(serde_json::from_str::<Body>(&line).expect("its own output"), body);
    }
}
