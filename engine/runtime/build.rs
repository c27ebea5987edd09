//! The shim is linked statically.

#[path = "../static_link.rs"]
mod static_link;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    static_link::link("glassdock-shim");
}
