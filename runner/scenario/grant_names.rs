//! How the parts of a grant may be called.

/// What the path of a secret begins with in templates.
pub(super) const SECRET: &str = "secret";
/// What to do where a template does not know secrets.
pub(super) const SECRET_HELP: &str =
    "secrets reach a provider by its environment: `grants.env = { KEY = \"{{secret.KEY}}\" }`";

/// Where an attempt's own files are.
const TAKEN: [&str; 3] = ["/scratch", "/files", "/artifacts"];

/// Tells why `text` is no place for a folder in a guest's file system.
pub fn check_mount(text: &str) -> Result<(), String> {
    let Some(path) = text.strip_prefix('/') else {
        return Err("does not begin with `/`".to_owned());
    };
    // The root itself, where most programs look. What is mounted below it is found first.
    if path.is_empty() {
        return Ok(());
    }
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    if text.contains('\0') || !path.split('/').all(is_plain) {
        return Err("has a part that is empty, `.` or `..`".to_owned());
    }
    let is_in = |taken: &&str| {
        let below = text.strip_prefix(taken);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match TAKEN.iter().find(|taken| is_in(taken)) {
        Some(taken) if *taken == text => Err("is the attempt's own".to_owned()),
        Some(taken) => Err(format!("is inside `{taken}`, which is the attempt's own")),
        None => Ok(()),
    }
}

/// Tells why `name` cannot name an environment variable.
pub fn variable_error(name: &str) -> Option<String> {
    let is_bad = name.is_empty() || name.contains(['=', '\0']);
    is_bad.then(|| "environment variables have names without `=` and NUL".to_owned())
}

#[cfg(test)]
mod tests {
    use super::check_mount;

    #[test]
    fn a_mount_is_an_absolute_path_that_nothing_else_has() {
        for good in ["/", "/data", "/a/b.c", "/scratchpad", "/file", "/..a"] {
            assert_eq!(check_mount(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "data",
            "./data",
            "//",
            "/a//b",
            "/a/",
            "/a/../b",
            "/..",
            "/./a",
            "/a\0",
            "/scratch",
            "/files/a",
            "/artifacts",
        ] {
            assert!(check_mount(bad).is_err(), "{bad:?}");
        }
    }
}
