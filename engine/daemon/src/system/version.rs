//! `docker version`.

use serde_json::json;

use crate::call::Call;
use crate::reply::{self, Reply};
use crate::{API_VERSION, MIN_API_VERSION, VERSION};

/// For what clients print in any case and the engine does not have: a build is told by its version alone.
pub(crate) const NONE: &str = "none";

/// Clients print it in any case.
const NOT_GO: &str = "none (Rust)";

/// `SystemVersion`: the versions of the engine and of the API that it speaks.
pub(crate) async fn version(_call: Call) -> Reply {
    let kernel = kernel_release();
    let arch = go_arch();
    let (api, min) = (API_VERSION.to_string(), MIN_API_VERSION.to_string());
    reply::json(&json!({
        "Platform": { "Name": "Glassdock" },
        "Components": [{
            "Name": "Engine",
            "Version": VERSION,
            "Details": {
                "ApiVersion": api,
                "Arch": arch,
                "BuildTime": NONE,
                "Experimental": "false",
                "GitCommit": NONE,
                "GoVersion": NOT_GO,
                "KernelVersion": kernel,
                "MinAPIVersion": min,
                "Os": "linux",
            },
        }],
        "Version": VERSION,
        "ApiVersion": api,
        "MinAPIVersion": min,
        "GitCommit": NONE,
        "GoVersion": NOT_GO,
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": kernel,
        "BuildTime": NONE,
    }))
}

/// The machine's architecture, by the name that Go and image indexes have for it.
#[must_use]
pub fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The kernel's release, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
