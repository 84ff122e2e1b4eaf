//! The pages: every block runs as it is pasted.

mod embedding;
mod examples;
mod formats;
mod model;
mod pages;
mod picture;
mod scripts;
mod session;

use std::fs;

use regex::Regex;

use self::{pages::blocks, session::Session};
use crate::support::{guests::root, runner::Runner};

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
    blocks_of_start_page_work: "README.md";
    blocks_of_contributors_page_work: "CONTRIBUTING.md";
    blocks_of_agents_page_work: "docs/agents.md";
    blocks_of_commands_page_work: "docs/commands.md";
    blocks_of_cookbook_page_work: "docs/cookbook.md";
    blocks_of_embedding_page_work: "docs/embedding.md";
    blocks_of_grants_page_work: "docs/grants.md";
    blocks_of_files_page_work: "docs/files.md";
    blocks_of_first_page_work: "docs/README.md";
    blocks_of_journal_page_work: "docs/journal.md";
    blocks_of_json_page_work: "docs/json.md";
    blocks_of_known_page_work: "docs/known.md";
    blocks_of_network_page_work: "docs/network.md";
    blocks_of_operations_page_work: "docs/operations.md";
    blocks_of_outcomes_page_work: "docs/outcomes.md";
    blocks_of_providers_page_work: "docs/providers.md";
    blocks_of_sandbox_page_work: "docs/sandbox.md";
    blocks_of_scenarios_page_work: "docs/scenarios.md";
    blocks_of_secrets_page_work: "docs/secrets.md";
    blocks_of_serve_page_work: "docs/serve.md";
    blocks_of_settings_page_work: "docs/settings.md";
    blocks_of_shards_page_work: "docs/shards.md";
    blocks_of_workers_page_work: "docs/workers.md";
    blocks_of_tutorial_about_agents_work: "docs/tutorials/agent.md";
    blocks_of_tutorial_about_evaluations_work: "docs/tutorials/agents.md";
    blocks_of_tutorial_about_conformance_work: "docs/tutorials/conformance.md";
    blocks_of_tutorial_about_models_work: "docs/tutorials/chat-model.md";
    blocks_of_tutorial_about_nights_work: "docs/tutorials/nightly.md";
    blocks_of_tutorial_about_parsers_work: "docs/tutorials/parsers.md";
    blocks_of_tutorial_about_submissions_work: "docs/tutorials/submissions.md";
    blocks_of_authors_page_work: "plugins/README.md";
    blocks_of_agent_page_work: "plugins/agent/README.md";
    blocks_of_cases_page_work: "plugins/cases/README.md";
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

/// Returns the anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let is_kept = |letter: char| letter.is_alphanumeric() || " -_".contains(letter);
    titles.map(|title| title.replace(|letter| !is_kept(letter), "").replace(' ', "-")).collect()
}

#[test]
fn links_of_pages_lead_to_headings() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    for path in pages::all().into_iter().chain(pages::for_contributors()) {
        let page = root().join(&path);
        let text = fs::read_to_string(&page).unwrap();
        for (_, [target]) in link.captures_iter(&text).map(|found| found.extract()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(to.exists(), "{path}: {target} does not exist");
            let has_anchor = || anchors(&fs::read_to_string(&to).unwrap()).contains(&anchor.into());
            assert!(anchor.is_empty() || has_anchor(), "{path}: {target} is not a heading");
        }
    }
}

#[test]
fn pages_for_contributors_name_files_that_exist() {
    let pages = pages::for_contributors();
    let pages = pages.iter().map(String::as_str).chain(["CONTRIBUTING.md"]);
    let page: String = pages.map(|page| fs::read_to_string(root().join(page)).unwrap()).collect();
    // Words in capitals are placeholders.
    let folders = "docs|fuzz|packaging|plugins|runner|schemas|tests";
    let path = Regex::new(&format!("`((?:{folders})/[a-z0-9_./-]*)`")).unwrap();
    let paths: Vec<_> = path.captures_iter(&page).map(|found| found[1].to_owned()).collect();
    assert!(paths.len() > 30, "{paths:?}");
    for path in paths {
        assert!(root().join(&path).exists(), "{path}");
    }
}

/// Returns the examples in the line of a page that starts with `start`.
fn examples_in(page: &str, start: &str) -> Vec<String> {
    let line = page.lines().find(|line| line.starts_with(start)).unwrap();
    let example = Regex::new(r"`(\d[^`]+)`").unwrap();
    example.captures_iter(line).map(|found| found[1].to_owned()).collect()
}

#[test]
fn documented_durations_ages_and_sizes_are_read() {
    let page = fs::read_to_string(root().join("docs/scenarios.md")).unwrap();
    let durations = examples_in(&page, "* A **duration**");
    let ages = examples_in(&page, "* An **age**");
    let sizes = examples_in(&page, "* A **size**");
    assert!(durations.len() > 3 && ages.len() > 1 && sizes.len() > 2);
    let duration = durations.iter().map(|text| ("timeout", format!("{text:?}")));
    let size = sizes.iter().map(|text| ("expect", format!("{{ max_memory = {text:?} }}")));
    let mut scenario = "[providers.echo]\nplugin = \"bundled:echo\"\n".to_owned();
    for (number, (key, value)) in duration.chain(size).enumerate() {
        scenario += &format!("[[tests]]\nid = \"{number}\"\n{key} = {value}\n");
    }
    let runner = Runner::new(&[]);
    runner.write("scenario.toml", &scenario);
    runner.run(&["validate", "scenario.toml"]).expect(0);
    runner.exec(&[]);
    for age in ages {
        runner.run(&["list", "--since", &age]).expect(0);
    }
}

/// Fails if a file of a results root or of a run is not on its page.
#[test]
fn files_page_lists_all_files() {
    let page = fs::read_to_string(root().join("docs/files.md")).unwrap();
    let runner = Runner::endless(1, "loop", "");
    let mut running = runner.start(&[]);
    running.wait_until_running(&runner, 1);
    let run = runner.only_run();
    let folders = [runner.path("results"), run.dir.clone()];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    running.kill();
    // A new `live.json` has another name for a moment, until it replaces the old one.
    names.retain(|name| name != run.id() && !name.starts_with(".new-"));
    assert!(names.len() > 8 && names.contains(&"live.json".into()), "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
}

#[test]
fn pages_have_at_most_245_kilobytes() {
    // 150, the page about workers on other machines with its configurations and keys, the rules of comparisons and judges,
    // a page of checks, known failures and accepted outputs with their two tutorials, journals with one,
    // workspaces, which graders read, and evaluations of agents with a tutorial.
    let folders = ["docs", "docs/tutorials", "docs/shards"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|file| file.unwrap().metadata().unwrap()).filter(fs::Metadata::is_file);
    let bytes: u64 = files.map(|file| file.len()).sum();
    assert!(bytes <= 245 << 10, "{bytes} bytes: remove what another page or a help has");
}

#[test]
fn list_of_decisions_has_each_page() {
    let list = fs::read_to_string(root().join("docs/design/README.md")).unwrap();
    let mut bytes = 0;
    for entry in fs::read_dir(root().join("docs/design")).unwrap() {
        let path = entry.unwrap().path();
        let (name, text) = (path.file_name().unwrap(), fs::read_to_string(&path).unwrap());
        let name = name.to_str().unwrap();
        assert!(name == "README.md" || list.contains(&format!("]({name}) |")), "{name}");
        assert!(text.lines().count() <= 50, "{name} has more than a page");
        bytes += text.len();
    }
    assert!(bytes <= 50 << 10, "{bytes} bytes: shorten a decision");
}

#[test]
#[expect(clippy::print_stdout, reason = "`--nocapture` lists the kinds of all blocks")]
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
