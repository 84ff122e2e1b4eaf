//! [`Form`]: the forms of reports, with their keys in scenarios, flags and names of files; and media types of other files.

use std::path::Path;

use crate::enum_text::text_enum;

text_enum! {
    /// A format of a report.
    pub enum Form {
        /// One page for a browser.
        Html = "html",
        /// JUnit's XML, for CI systems.
        Junit = "junit",
        /// Markdown, for a comment.
        Markdown = "markdown",
        /// A table with a line for each trial.
        Csv = "csv",
        /// The attempts over time, for trace viewers.
        Trace = "trace",
    }
}

impl Form {
    /// Returns the extension of files, the usual name of one, its media type, and its content for the help.
    fn facts(self) -> [&'static str; 4] {
        match self {
            Self::Html => {
                ["html", "report.html", "text/html; charset=utf-8", "one page for a browser"]
            }
            Self::Junit => ["xml", "junit.xml", "application/xml", "JUnit's XML, for CI systems"],
            Self::Markdown => {
                ["md", "report.md", "text/markdown; charset=utf-8", "Markdown, for a comment"]
            }
            Self::Csv => {
                ["csv", "report.csv", "text/csv; charset=utf-8", "CSV, with a line for each trial"]
            }
            Self::Trace => [
                "trace",
                "report.trace",
                "application/octet-stream",
                "the attempts over time, for Perfetto",
            ],
        }
    }

    /// Returns the extension of files, without the dot.
    pub fn extension(self) -> &'static str {
        self.facts()[0]
    }

    /// Returns the usual name of a file.
    pub fn file_name(self) -> &'static str {
        self.facts()[1]
    }

    pub fn media_type(self) -> &'static str {
        self.facts()[2]
    }

    /// Returns words for the content: `JUnit's XML, for CI systems`.
    pub fn content(self) -> &'static str {
        self.facts()[3]
    }

    /// Returns the form that the extension of a file names.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let extension = match &*extension {
            "htm" => "html",
            "markdown" => "md",
            extension => extension,
        };
        Self::ALL.iter().copied().find(|form| form.extension() == extension)
    }

    /// Lists all extensions for messages: `.html, .xml, .md, .csv or .trace`.
    pub fn extensions() -> String {
        Self::list(|form| format!(".{}", form.extension()))
    }

    /// Lists all words for documents: `html`, `junit`, `markdown`, `csv` or `trace`, each in backquotes.
    pub fn words() -> String {
        Self::list(|form| format!("`{form}`"))
    }

    fn list(text: fn(&Self) -> String) -> String {
        let all: Vec<_> = Self::ALL.iter().map(text).collect();
        let (last, others) = all.split_last().expect("there are forms");
        format!("{} or {last}", others.join(", "))
    }
}

/// Returns the media type of a file with this name, `application/octet-stream` for an unknown extension.
pub fn media_type(name: &str) -> &'static str {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
        "txt" | "log" | "md" => "text/plain",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "js" | "mjs" => "text/javascript",
        "json" => "application/json",
        "jsonl" => "application/jsonl",
        "toml" => "application/toml",
        "yaml" | "yml" => "application/yaml",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" => "application/gzip",
        "wasm" => "application/wasm",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "webp" => "image/webp",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}
