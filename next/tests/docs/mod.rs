//! The pages: every block runs as it is pasted.

mod examples;
mod pages;
mod session;

use self::{pages::blocks, session::Session};

/// Declares a test for each page.
macro_rules! pages {
    ($($test:ident: $path:literal;)+) => {
        const PAGES: &[&str] = &[$($path),+];

        $(#[test]
        fn $test() {
            follow($path);
        })+
    };
}

pages! {
    blocks_of_commands_page_work: "next/docs/commands.md";
    blocks_of_grants_page_work: "next/docs/grants.md";
    blocks_of_network_page_work: "next/docs/network.md";
    blocks_of_operations_page_work: "next/docs/operations.md";
    blocks_of_outcomes_page_work: "next/docs/outcomes.md";
    blocks_of_providers_page_work: "next/docs/providers.md";
    blocks_of_scenarios_page_work: "next/docs/scenarios.md";
    blocks_of_secrets_page_work: "next/docs/secrets.md";
    blocks_of_authors_page_work: "plugins/README.md";
    blocks_of_chat_page_work: "plugins/chat/README.md";
    blocks_of_http_page_work: "plugins/http/README.md";
}

/// Runs the blocks of a page in their order, in one folder.
fn follow(path: &str) {
    let mut session = Session::new();
    for block in blocks(path) {
        session.run(&block);
    }
}

#[test]
fn every_block_of_every_page_is_tested() {
    let mut unknown = Vec::new();
    for path in pages::all() {
        assert!(PAGES.contains(&path.as_str()), "no test follows {path}");
        for block in blocks(&path) {
            let kind = block.kind();
            println!("{}: {kind:?}", block.place);
            if kind.is_none() {
                unknown.push(block.place);
            }
        }
    }
    assert!(unknown.is_empty(), "blocks of no known kind: {unknown:?}");
}
