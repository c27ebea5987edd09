//! What a container leaves whose shim is gone before its time: killed, or ended by the
//! kernel for want of memory.
//!
//! The container's processes go on without it, and nobody holds their streams, writes
//! their log or would collect their status. So they are ended, as by containerd when its
//! shim dies: through the control group, which knows them all, also those that have no pid
//! namespace of their own. What they alone held (namespaces, with the mounts and links in
//! them) goes with them.

use glassdock_kernel::ErrorKind;
use glassdock_kernel::cgroup::Cgroup;
use glassdock_trace::Trace;

use super::container::Container;

/// Ends and removes whatever a container without a shim still has of processes and control
/// group. Returns whether there was anything. Blocks until they are gone, a few seconds at most.
pub(crate) fn end(trace: &Trace, container: &Container) -> bool {
    let group = match Cgroup::open(&super::cgroup_of(container)) {
        Ok(group) => group,
        Err(error) if error.kind() == ErrorKind::NotFound => return false,
        Err(error) => {
            tracing::warn!(id = container.id, %error, "whether a container left processes can't be seen");
            return false;
        }
    };
    // Where the machine has no control groups, there is nothing to find anybody by.
    if matches!(group.hierarchy(), glassdock_kernel::cgroup::Hierarchy::None(_)) {
        return false;
    }
    if let Err(error) = group.kill(trace) {
        tracing::warn!(id = container.id, %error, "a container without a shim has processes that stay");
    }
    if let Err(error) = group.remove(trace) {
        tracing::warn!(id = container.id, %error, "the control group of a lost container stays");
    }
    true
}
