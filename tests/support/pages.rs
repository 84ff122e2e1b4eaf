//! The pages of the documentation, and the blocks of code on them.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// A fenced block of code.
pub(crate) struct Block {
    pub(crate) page: PathBuf,
    pub(crate) line: usize,
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }

    /// Whether it is on a page for people who write providers.
    pub(crate) fn is_for_authors(&self) -> bool {
        self.page.starts_with("plugins")
    }
}

/// The README, the reference, and the pages for people who write providers.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md")];
    for folder in ["docs", "plugins", "plugins/http", "plugins/chat"] {
        pages.extend(markdown_in(folder));
    }
    assert!(pages.len() > 15);
    pages
}

/// The pages about the inside of the program: they have links, and no code.
pub(crate) fn pages_about_the_inside() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("CHANGELOG.md")];
    pages.extend(markdown_in("runner"));
    pages
}

pub(crate) fn read(page: impl AsRef<Path>) -> String {
    fs::read_to_string(page.as_ref()).unwrap()
}

pub(crate) fn blocks() -> Vec<Block> {
    pages()
        .into_iter()
        .flat_map(|page| blocks_in(&page))
        .collect()
}

pub(crate) fn blocks_of(language: &str) -> Vec<Block> {
    let blocks: Vec<_> = blocks()
        .into_iter()
        .filter(|block| block.language == language)
        .collect();
    assert!(!blocks.is_empty(), "no page has a block of `{language}`");
    blocks
}

/// The text of a page without its blocks of code.
pub(crate) fn prose(page: &Path) -> String {
    let mut is_inside = false;
    let text = read(page);
    let lines = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_inside ^= is_fence;
        !is_inside && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn markdown_in(folder: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(Path::new(folder)).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.sort();
    pages
}

fn blocks_in(page: &Path) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (index, line) in read(page).lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if is_inside => is_inside = false,
            Some(language) => {
                is_inside = true;
                blocks.push(Block {
                    page: page.to_owned(),
                    line: index + 1,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            None if is_inside => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}
