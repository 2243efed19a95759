//! Two recordings as a page for a browser, under the same rules as the report's.

use super::{DATA_PLACE, TITLE_PLACE, escaped, filled, in_script};
use crate::comparison::Comparison;
use crate::error::AnalyzerError;
use serde_json::json;

const PAGE: &str = include_str!("comparison.html");

impl Comparison {
    /// The comparison as an HTML page with at most `top` sites, all of them unless told otherwise.
    pub fn to_html(&self, top: Option<usize>) -> Result<String, AnalyzerError> {
        let mut data = serde_json::to_value(self)?;
        let all = self.pairs.len();
        data["sites_in_all"] = json!(all);
        if let Some(pairs) = data["pairs"].as_array_mut() {
            pairs.truncate(top.unwrap_or(all));
        }
        let title = format!("{} against {}", self.now, self.before);
        Ok(filled(PAGE, &[(TITLE_PLACE, &escaped(&title)), (DATA_PLACE, &in_script(&data))]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_its_places_and_loads_nothing() {
        for place in [TITLE_PLACE, DATA_PLACE, "default-src 'none'"] {
            assert!(PAGE.contains(place), "{place}");
        }
        for word in [
            "http:",
            "https:",
            "src=",
            "href=",
            "@import",
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
    }
}
