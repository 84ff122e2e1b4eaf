//! Links the program of debug builds at a fixed address.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Tests start it thousands of times, and a sixth of a short run was the relocation of its addresses.
    let is_debug = env::var("PROFILE").is_ok_and(|profile| profile == "debug");
    let is_gnu = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|target| target == "gnu");
    if is_debug && is_gnu {
        println!("cargo:rustc-link-arg-bin=runner=-no-pie");
    }
}
