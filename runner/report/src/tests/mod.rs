//! Snapshots of documents and texts. `./update` accepts changed ones.

mod actions;
pub(crate) mod documents;

/// Compares a text with `snapshots/NAME.snap`.
pub(crate) fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
