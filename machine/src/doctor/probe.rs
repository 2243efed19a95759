//! A probe: a question about this KVM and how it is answered.

use super::lab::Lab;
use super::report::{Finding, Group, Verdict};
use crate::error::MachineError;

/// The answer to a question.
#[derive(Debug)]
pub(super) struct Answer {
    value: String,
    verdict: Verdict,
    meaning: String,
}

impl Answer {
    pub(super) fn good(value: impl Into<String>) -> Self {
        Self { value: value.into(), verdict: Verdict::Good, meaning: String::new() }
    }

    pub(super) fn info(value: impl Into<String>) -> Self {
        Self { value: value.into(), verdict: Verdict::Informational, meaning: String::new() }
    }

    pub(super) fn limits(value: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { value: value.into(), verdict: Verdict::LimitsRecording, meaning: meaning.into() }
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict == Verdict::Good
    }

    /// Adds what an informational or good value means.
    pub(super) fn meaning(self, meaning: impl Into<String>) -> Self {
        Self { meaning: meaning.into(), ..self }
    }

    /// Good if so, otherwise limiting.
    pub(super) fn good_if(good: bool, value: impl Into<String>, otherwise: &str) -> Self {
        if good { Self::good(value) } else { Self::limits(value, otherwise) }
    }
}

pub(super) type Answered = Result<Answer, MachineError>;

/// A question: id, title, how to answer it.
pub(super) struct Probe(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) fn(&Lab<'_>) -> Answered,
);

/// Asks all questions of a group. One that fails is a finding too.
pub(super) fn ask(
    lab: &Lab<'_>,
    id: &str,
    title: &str,
    probes: &[Probe],
    progress: &mut dyn FnMut(&str),
) -> Group {
    let findings = probes
        .iter()
        .map(|Probe(id, title, probe)| {
            progress(title);
            let answer = probe(lab)
                .unwrap_or_else(|e| Answer::limits("not measured", format!("The probe itself failed: {e}")));
            Finding {
                id: (*id).to_owned(),
                title: (*title).to_owned(),
                value: answer.value,
                verdict: answer.verdict,
                meaning: answer.meaning,
            }
        })
        .collect();
    Group { id: id.to_owned(), title: title.to_owned(), findings }
}
