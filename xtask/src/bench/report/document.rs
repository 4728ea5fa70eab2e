//! docs/benchmarks.md, with its curves and its figures.
//!
//! What is told of figures is made of them here; the text around it, which holds whatever they
//! are, is in `document.md`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::machine::Machine;
use super::super::plan::Plan;
use super::super::samples::Failure;
use super::super::summary::Summary;
use super::super::table;
use super::super::tracer::Tracer;
use super::super::verdict::{self, Verdict};
use super::{
    comparison, endurances, growth, listings, models, plots, recordings, screens, searches,
    serving, text, tiers,
};

/// The text around the figures.
const TEXT: &str = include_str!("document.md");
/// The folder of the curves, beside the document.
const CURVES: &str = "benchmarks";
/// The curves, and what is said to those who do not see them.
const PICTURES: [(&str, &str); 4] = [
    ("rates.svg", "ns per transition by transitions per second"),
    ("events.svg", "percent of a core by events per second"),
    ("memory.svg", "RSS by TIME_WAIT sockets"),
    ("refresh.svg", "CPU of a refresh by TIME_WAIT sockets"),
];
/// What stands where nothing was measured.
const NOTHING: &str = "*Not measured in this run.*\n";

/// Writes it, and returns the names of its files.
pub(in super::super) fn write(
    dir: &Path,
    machine: &Machine,
    plan: &Plan,
    summary: &Summary,
    figures: &Value,
) -> Result<Vec<String>> {
    let curves = dir.join(CURVES);
    fs::create_dir_all(&curves).with_context(|| format!("cannot make {}", curves.display()))?;
    let drawn = plots::all(summary)?;
    let names: Vec<&str> = drawn.iter().map(|(name, _)| *name).collect();
    let text = document(machine, plan, summary, &names)?;
    let mut files = vec![("benchmarks.md".to_owned(), text)];
    for (name, svg) in drawn {
        files.push((format!("{CURVES}/{name}"), svg));
    }
    files.push((format!("{CURVES}/figures.json"), format!("{figures:#}\n")));
    for (name, content) in &files {
        let file = dir.join(name);
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

fn document(machine: &Machine, plan: &Plan, summary: &Summary, curves: &[&str]) -> Result<String> {
    let mut all = sections(machine, plan, summary);
    all.extend(PICTURES.map(|(name, what)| (name, Some(picture(name, what, curves)))));
    fill(TEXT, &all)
}

/// Nothing where nothing was drawn.
fn picture(name: &str, what: &str, curves: &[&str]) -> String {
    if curves.contains(&name) { format!("![{what}]({CURVES}/{name})\n") } else { String::new() }
}

/// What stands for each name in the text.
type Sections = Vec<(&'static str, Option<String>)>;

fn sections(machine: &Machine, plan: &Plan, summary: &Summary) -> Sections {
    let verdicts = verdict::all(summary);
    let plain = |text: String| format!("```text\n{text}```\n");
    let has = |all: bool, text: &dyn Fn() -> String| all.then(text);
    let model = summary.model.as_ref();
    vec![
        ("outcome", Some(outcome(plan, &verdicts, &summary.failures))),
        ("machine", Some(facts(machine))),
        ("targets", has(!verdicts.is_empty(), &|| text::verdicts(&verdicts, table::markdown))),
        ("missed", Some(missed(&verdicts))),
        ("method", Some(text::method(plan))),
        ("peers", summary.bare_rate.map(|_| text::tracers(summary, table::markdown))),
        ("compared", comparison::text(summary, table::markdown)),
        ("unavailable", summary.bare_rate.map(|_| unavailable(&summary.failures))),
        ("blind", Some(blind())),
        (
            "programs",
            has(!summary.programs.is_empty(), &|| text::programs(summary, table::markdown)),
        ),
        ("filtered", text::filtered(summary, table::markdown)),
        ("lost", summary.endurance.as_ref().map(|run| endurances::text(run, table::markdown))),
        ("rates", has(!summary.rates.is_empty(), &|| rates(summary))),
        ("events", summary.feed.as_ref().map(|feed| growth::feed(feed, table::markdown))),
        ("sockets", has(!summary.population.is_empty(), &|| sockets(summary))),
        ("model", model.map(modelled)),
        ("recording", summary.recording.as_ref().map(|it| plain(recordings::text(it)))),
        ("memory", summary.memory.as_ref().map(|it| plain(text::memory(it)))),
        ("screen", summary.screen.as_ref().map(|it| plain(screens::text(it)))),
        ("serve", summary.serve.as_ref().map(|it| plain(serving::text(it)))),
        ("states", summary.states.as_ref().map(|it| plain(listings::text(it)))),
        ("knee", summary.knee.as_ref().map(|it| plain(searches::knee(it)))),
        ("sampling", summary.sampling.as_ref().map(|it| plain(searches::sampling(it)))),
        ("tiers", summary.tiers.as_ref().map(|it| tiers::text(it, table::markdown))),
    ]
}

/// Puts sections where their names are; a name that is not known, or not used, is a mistake.
fn fill(text: &str, sections: &Sections) -> Result<String> {
    let mut filled = text.to_owned();
    for (name, section) in sections {
        let place = format!("{{{{{name}}}}}\n");
        if !text.contains(&place) {
            bail!("the text of the document has no place for {name}");
        }
        filled = filled.replace(&place, section.as_deref().unwrap_or(NOTHING));
    }
    if let Some((_, rest)) = filled.split_once("{{") {
        let name = rest.split("}}").next().unwrap_or_default();
        bail!("the text of the document names {name}, which is nothing");
    }
    Ok(filled)
}

/// How many targets were met, and which were not.
fn outcome(plan: &Plan, verdicts: &[Verdict], failures: &[Failure]) -> String {
    let of = |met: Option<bool>| verdicts.iter().filter(move |verdict| verdict.met == met).count();
    let (met, missed, unknown) = (of(Some(true)), of(Some(false)), of(None));
    if verdicts.is_empty() {
        return format!("No target was measured.\n{}", warnings(plan, failures));
    }
    let mut text = format!("Of {} targets {met} were met and {missed} missed", verdicts.len());
    if unknown > 0 {
        text.push_str(&format!("; {unknown} could not be measured"));
    }
    text.push_str(".\n");
    text + &warnings(plan, failures)
}

/// What a reader has to know first.
fn warnings(plan: &Plan, failures: &[Failure]) -> String {
    let mut text = String::new();
    if plan.quick {
        text.push_str("\n**A quick run, for a look only: no figure of it is to be published.**\n");
    }
    for failure in failures.iter().filter(|failure| !failure.is_peers) {
        text.push_str(&format!("\n**{} failed:** `` {} ``\n", failure.what, failure.why));
    }
    text
}

fn facts(machine: &Machine) -> String {
    let Machine { date, kernel, cpu, cores, load, commit, versions } = machine;
    let fact = |(what, value): (&str, &str)| vec![what.to_owned(), value.to_owned()];
    let cores = cores.to_string();
    let commit = commit.as_deref().unwrap_or("unknown");
    let facts = [
        ("date", date.as_str()),
        ("commit of the checkout", commit),
        ("processor", cpu),
        ("cores", &cores),
        ("Linux", kernel),
        ("load before", load),
    ];
    let versions = versions
        .iter()
        .map(|(name, version)| (*name, version.as_deref().unwrap_or("not installed")));
    let rows: Vec<Vec<String>> = facts.into_iter().chain(versions).map(fact).collect();
    table::markdown(&["what", "on this run"], &rows)
}

/// What was missed, with what would be needed.
fn missed(verdicts: &[Verdict]) -> String {
    let missed: Vec<&Verdict> = verdicts.iter().filter(|it| it.met == Some(false)).collect();
    if missed.is_empty() {
        return "Nothing that was measured missed its target.\n".into();
    }
    let row = |verdict: &&Verdict| {
        let Verdict { what, figure, target, .. } = verdict;
        let needed = verdict::remedy(what).map(|needed| format!(" {needed}"));
        let what = what.trim();
        format!("- **{what}**: {figure}, wanted {target}.{}\n", needed.unwrap_or_default())
    };
    format!("What missed its target:\n\n{}", missed.iter().map(row).collect::<String>())
}

fn unavailable(failures: &[Failure]) -> String {
    let peers: Vec<&Failure> = failures.iter().filter(|failure| failure.is_peers).collect();
    if peers.is_empty() {
        return "None of those that were asked for failed to run here.\n".into();
    }
    let row =
        |failure: &&Failure| format!("- {}, unavailable: `` {} ``\n", failure.what, failure.why);
    peers.iter().map(row).collect()
}

fn blind() -> String {
    let row = |tracer: Tracer| Some(vec![tracer.name().to_owned(), tracer.blind()?.to_owned()]);
    let rows: Vec<Vec<String>> = Tracer::ALL.into_iter().filter_map(row).collect();
    table::markdown(&["what", "does not tell"], &rows)
}

fn rates(summary: &Summary) -> String {
    let table = growth::rates(&summary.rates, table::markdown);
    format!("{table}\n{}\n", growth::saturation(&summary.rates))
}

fn sockets(summary: &Summary) -> String {
    let table = growth::population(&summary.population, table::markdown);
    let each = growth::each(&summary.population).unwrap_or_default();
    format!("{table}\n{each}\n")
}

fn modelled(model: &super::super::model::Model) -> String {
    let [costs, bounds, loads] =
        [models::costs, models::bounds, models::loads].map(|of| of(model, table::markdown));
    let sentence = models::sentence(model).unwrap_or_default();
    format!("{costs}\n{sentence}\n\n{bounds}\n{loads}")
}

#[cfg(test)]
mod tests {
    use super::super::super::endurance::tests::endurance;
    use super::super::super::feed::tests::feed;
    use super::super::super::population::tests::population;
    use super::super::super::rates::tests::rate;
    use super::*;

    fn machine() -> Machine {
        Machine {
            date: "today".into(),
            kernel: "6.18".into(),
            cpu: "EPYC".into(),
            cores: 2,
            load: "0 0 0".into(),
            commit: Some("abc1234".into()),
            versions: vec![("bpftrace", None)],
        }
    }

    fn summary() -> Summary {
        let mut run = endurance();
        run.recorded.ring_full = 7;
        let peer = Failure { what: "bindsnoop", why: "no kprobe".into(), is_peers: true };
        Summary {
            endurance: Some(run),
            rates: vec![rate(1_000, 1_000), rate(25_000, 18_000)],
            feed: Some(feed()),
            population: vec![population(10_000), population(100_000)],
            tiers: Some(tiers::tests::tiers()),
            failures: vec![peer],
            ..Summary::default()
        }
    }

    #[test]
    fn every_place_is_filled() {
        let plan = Plan::new(true, &[]);
        let text = document(&machine(), &plan, &summary(), &["rates.svg"]).expect("a document");
        assert!(
            text.contains("](benchmarks/rates.svg)") && !text.contains("](benchmarks/memory.svg)")
        );
        assert!(text.contains("| bpftrace | not installed |"), "{text}");
        assert!(text.contains("A quick run"), "{text}");
        assert!(text.contains(NOTHING), "there was no knee");
        assert!(!text.contains("{{"), "{text}");
    }

    #[test]
    fn what_is_said_is_what_was_measured() {
        let verdicts = verdict::all(&summary());
        let said = outcome(&Plan::new(false, &[]), &verdicts, &[]);
        assert_eq!(said, "Of 5 targets 4 were met and 1 missed.\n");
        let said = missed(&verdicts);
        assert!(said.contains("ring full**: 7, wanted 0."), "{said}");
        assert!(missed(&[]).starts_with("Nothing"));
    }

    #[test]
    fn a_peer_that_does_not_run_says_why() {
        let said = unavailable(&summary().failures);
        assert_eq!(said, "- bindsnoop, unavailable: `` no kprobe ``\n");
    }

    #[test]
    fn a_failure_of_ours_is_at_the_top() {
        let failure = Failure { what: "knee", why: "no ports".into(), is_peers: false };
        let said = outcome(&Plan::new(false, &[]), &[], &[failure]);
        assert!(said.contains("**knee failed:** `` no ports ``"), "{said}");
    }

    #[test]
    fn a_name_that_is_nothing_is_a_mistake() {
        assert!(fill("{{a}}\n", &vec![("a", None)]).is_ok_and(|text| text == NOTHING));
        assert!(fill("{{a}}\n{{b}}\n", &vec![("a", None)]).is_err());
        assert!(fill("\n", &vec![("a", None)]).is_err());
    }
}
