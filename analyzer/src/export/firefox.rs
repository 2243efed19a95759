//! The Firefox Profiler: a sample per exit, weighed by its cost; markers for HLT and interrupts.

use super::profile::{Source, Written};
use crate::error::AnalyzerError;
use crate::labels::is_idle;
use crate::moments::{Moment, Step, moments};
use crate::stacks::Caller;
use fxprof_processed_profile::{
    CategoryColor, CategoryHandle, CpuDelta, Frame, FrameFlags, FrameInfo, MarkerFieldFlags,
    MarkerFieldFormat, MarkerLocations, MarkerTiming, Profile, ReferenceTimestamp, SamplingInterval,
    StackHandle, StaticSchemaMarker, StaticSchemaMarkerField, StringHandle, ThreadHandle, Timestamp,
    WeightType,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;

/// Weights are whole numbers; they are nanoseconds here and become milliseconds in the end.
const NS_PER_MS: f64 = 1e6;

pub(super) fn write(source: &Source<'_>, out: &mut impl Write) -> Written {
    let mut profile = serde_json::to_value(build(source)?).map_err(AnalyzerError::Json)?;
    for thread in profile["threads"].as_array_mut().into_iter().flatten() {
        for weight in thread["samples"]["weight"].as_array_mut().into_iter().flatten() {
            *weight = Value::from(weight.as_f64().unwrap_or(0.0) / NS_PER_MS);
        }
    }
    Ok(serde_json::to_writer(out, &profile).map_err(Into::into))
}

fn build(source: &Source<'_>) -> Result<Profile, AnalyzerError> {
    let product = source.report.path().file_name().unwrap_or_default().to_string_lossy();
    let product = trapline_formats::printable(product.as_bytes(), false);
    // The wall clock is no part of a trace: a profile starts at 0.
    let start = ReferenceTimestamp::from_millis_since_unix_epoch(0.0);
    let mut profile = Profile::new(&product, start, SamplingInterval::from_millis(1));
    let process = profile.add_process(&product, 1, at(0));
    let thread = profile.add_thread(process, 1, at(0), true);
    profile.set_thread_name(thread, "vCPU 0");
    profile.set_thread_samples_weight_type(thread, WeightType::TracingMs);
    profile.set_thread_show_markers_in_timeline(thread, true);
    profile.set_process_end_time(process, at(source.report.totals().total_ns));
    let category = profile.add_category("Exits", CategoryColor::Blue);
    let mut stacks = Handles { source, thread, category, known: BTreeMap::new() };
    let names = [profile.intern_string("HLT"), profile.intern_string("interrupt")];
    let mut run: Option<Run> = None;
    moments(source.trace, &source.report.pricing, |step| {
        match step {
            Step::Exit(moment) if source.trace.sites().get(moment.site as usize).is_some_and(is_idle) => {
                let timing = MarkerTiming::Interval(at(moment.vmm_start_ns()), at(moment.end_ns()));
                profile.add_marker(thread, timing, Marker { name: names[0], category, vector: 0 });
            }
            // Exits of one site after another are one sample: a loop that polls is long.
            Step::Exit(moment) => match &mut run {
                Some(run) if run.who == who(source, moment) && run.fits(moment) => run.add(moment),
                _ => stacks.flush(&mut profile, run.replace(Run::new(who(source, moment), moment))),
            },
            Step::Interrupt { at_ns, vector } => {
                let marker = Marker { name: names[1], category, vector: vector.unwrap_or(2) };
                profile.add_marker(thread, MarkerTiming::Instant(at(at_ns)), marker);
            }
        }
        Ok(())
    })?;
    stacks.flush(&mut profile, run);
    Ok(profile)
}

fn at(ns: u64) -> Timestamp {
    Timestamp::from_nanos_since_reference(ns)
}

/// A site, and where it is known, its stack.
type Who = (u32, Option<u32>);

fn who(source: &Source<'_>, moment: Moment) -> Who {
    (source.labels.number(moment.site), source.callers(moment.exit).map(|(stack, _)| stack))
}

/// The stacks of a profile, each made once.
struct Handles<'a> {
    source: &'a Source<'a>,
    thread: ThreadHandle,
    category: CategoryHandle,
    known: BTreeMap<Who, Option<StackHandle>>,
}

impl Handles<'_> {
    fn of(&mut self, profile: &mut Profile, who: Who) -> Option<StackHandle> {
        if let Some(known) = self.known.get(&who) {
            return *known;
        }
        let label = self.source.labels.of(who.0);
        let stacks = self.source.report.symbols().stacks();
        let callers = stacks.zip(who.1).into_iter().flat_map(|(stacks, stack)| stacks.callers(stack).rev());
        let own = [&label.function, &label.instruction, &label.target].map(String::clone);
        let names: Vec<_> = callers.map(Caller::function).chain(own).collect();
        let frames: Vec<_> = names
            .iter()
            .map(|name| FrameInfo {
                frame: Frame::Label(profile.intern_string(name)),
                category_pair: self.category.into(),
                flags: FrameFlags::empty(),
            })
            .collect();
        let handle = profile.intern_stack_frames(self.thread, frames.into_iter());
        self.known.insert(who, handle);
        handle
    }

    fn flush(&mut self, profile: &mut Profile, run: Option<Run>) {
        let Some(run) = run else { return };
        let stack = self.of(profile, run.who);
        let weight = i32::try_from(run.cost_ns).unwrap_or(i32::MAX);
        profile.add_sample(self.thread, at(run.start_ns), stack, CpuDelta::from_nanos(run.cost_ns), weight);
    }
}

/// Exits of one site with one stack, one after another.
#[derive(Debug, Clone, Copy)]
struct Run {
    who: Who,
    start_ns: u64,
    cost_ns: u64,
}

impl Run {
    /// A sample does not cover more time: a timeline of few samples shows nothing.
    const LONGEST_NS: u64 = 1_000_000;

    fn new(who: Who, moment: Moment) -> Self {
        Self { who, start_ns: moment.exit_ns(), cost_ns: moment.cost_ns() }
    }

    fn fits(&self, moment: Moment) -> bool {
        moment.end_ns() - self.start_ns < Self::LONGEST_NS
    }

    fn add(&mut self, moment: Moment) {
        self.cost_ns += moment.cost_ns();
    }
}

/// HLT and interrupts.
struct Marker {
    name: StringHandle,
    category: CategoryHandle,
    vector: u8,
}

impl StaticSchemaMarker for Marker {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "trapline";
    const LOCATIONS: MarkerLocations = MarkerLocations::MARKER_CHART
        .union(MarkerLocations::MARKER_TABLE)
        .union(MarkerLocations::TIMELINE_OVERVIEW);
    const CHART_LABEL: Option<&'static str> = Some("{marker.name}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[StaticSchemaMarkerField {
        key: "vector",
        label: "Vector",
        format: MarkerFieldFormat::Integer,
        flags: MarkerFieldFlags::SEARCHABLE,
    }];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        self.category
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        self.name
    }

    fn number_field_value(&self, _: u32) -> f64 {
        self.vector.into()
    }
}
