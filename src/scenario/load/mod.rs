//! From files to [`Scenario`]s. All diagnostics are collected; loading does not stop at the first. This
//! module does not know what a step does. Start with [`load()`], which reads the files, and [`scenario`],
//! which reads one.

mod assertion;
mod attach;
mod files;
mod flow;
mod room;
mod rows;
mod step;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::de::DeserializeOwned;

pub use attach::Attachments;
pub use files::{ScenarioFiles, is_data, load, load_given};

use crate::diag::Code;
use crate::scenario::language::{Readiness, Scenario, ScenarioStep};
use crate::scenario::reader::yaml::{NodeKind, YamlNode};
use crate::scenario::reader::{NodeReader, given, keys};
use crate::scenario::steps::{Action, read_hosts};
use crate::scenario::values::Variables;
use crate::scenario::values::size::size_of;
use crate::value::Value;
use room::LoadedTotal;
use rows::RowVariables;

/// Steps and variables of a fixture file, for the scenarios that use it.
#[derive(Clone, Debug, Default)]
pub struct Fixture {
    setup: Vec<ScenarioStep>,
    teardown: Vec<ScenarioStep>,
    variables: RowVariables,
    /// The size of its steps as JSON.
    bytes: usize,
    /// True if the file could not be read, so that its captures are unknown.
    is_unknown: bool,
}

impl Fixture {
    /// A fixture that could not be read.
    pub fn unknown() -> Self {
        Self { is_unknown: true, ..Self::default() }
    }
}

/// Reads a fixture file. The variables `given_names` have values from the start.
pub fn fixture(reader: &mut NodeReader<'_>, node: &YamlNode, given_names: &[String]) -> Option<Fixture> {
    reader.table(node, "a fixture", keys::FIXTURE)?;
    let variables = given(node, "variables").map(|value| rows::variables(reader, value, "`variables`"));
    let (setup, teardown) = (steps(reader, node, "setup"), steps(reader, node, "teardown"));
    let bytes = size_of(&setup) + size_of(&teardown);
    let fixture =
        Fixture { setup, teardown, variables: variables.unwrap_or_default(), bytes, is_unknown: false };
    let known = fixture.variables.keys().chain(given_names).cloned().collect();
    // The scenarios that use it may have more variables.
    flow::review(reader, node, known, false);
    Some(fixture)
}

/// Reads a whole file: one scenario, or one for each row. The variables `given_names` have values from the
/// start; without such a list, others may come from outside.
pub fn scenario(
    reader: &mut NodeReader<'_>,
    node: &YamlNode,
    fixtures: &BTreeMap<String, Fixture>,
    given_names: Option<&[String]>,
) -> Option<Vec<Scenario>> {
    reader.table(node, "a scenario", keys::SCENARIO)?;
    let id = reader.required(node, "id", "a scenario");
    let weight = weight(reader, node, 1.0);
    let rows = given(node, "for_each").map(|value| rows::read(reader, value)).unwrap_or_default();
    let own = given(node, "variables").map(|value| rows::variables(reader, value, "`variables`"));
    let named = named_fixtures(reader, node, fixtures);
    let mut variables: RowVariables = named.iter().flat_map(|fixture| fixture.variables.clone()).collect();
    variables.extend(own.unwrap_or_default());
    let mut known: HashSet<String> = variables
        .keys()
        .chain(rows.iter().flat_map(RowVariables::keys))
        .chain(given_names.unwrap_or_default())
        .cloned()
        .collect();
    known.extend(named.iter().flat_map(|fixture| captured(&fixture.setup)));
    let setup: Vec<ScenarioStep> =
        named.iter().flat_map(|fixture| fixture.setup.clone()).chain(steps(reader, node, "setup")).collect();
    let teardown = steps(reader, node, "teardown");
    let teardown =
        teardown.into_iter().chain(named.iter().rev().flat_map(|fixture| fixture.teardown.clone())).collect();
    let steps = steps(reader, node, "steps");
    if given(node, "steps").is_none_or(|list| matches!(&list.kind, NodeKind::List(items) if items.is_empty()))
    {
        reader.complain(
            Code::ScenarioMissing,
            given(node, "steps").unwrap_or(node),
            "`steps` needs at least one entry",
        );
    }
    if let Some(list) = given(node, "steps")
        && !steps.is_empty()
        && steps.iter().all(|step| step.when.is_some())
    {
        let message = "every step has a condition, so all of them might be skipped";
        reader.complain(Code::ScenarioMissing, list, message).help =
            Some("leave at least one step without `when`".into());
    }
    let complete = given_names.is_some()
        && named.len() == named_in(node)
        && !named.iter().any(|fixture| fixture.is_unknown);
    flow::review(reader, node, known, complete);
    let scenario = Scenario {
        description: reader.optional(node, "description"),
        kind: reader.optional(node, "type"),
        weight,
        tier: tier(reader, node, &steps),
        component: reader.optional(node, "component"),
        tags: tags(reader, node),
        isolation: choice(reader, node, "isolation", keys::ISOLATION),
        must: given(node, "must").and_then(|value| reader.flag(value, "`must`")).unwrap_or_default(),
        visibility: choice(reader, node, "visibility", keys::VISIBILITY),
        timeout: given(node, "timeout").and_then(|value| reader.duration(value, "`timeout`")),
        trust: reader.optional(node, "trust"),
        hosts: given(node, "hosts").and_then(|value| read_hosts(reader, value)).unwrap_or_default(),
        variables,
        satisfaction_criteria: reader.optional(node, "satisfaction_criteria"),
        file: reader.sources.get(reader.source).name.clone(),
        readiness: Readiness::default(),
        commands: false,
        group: String::new(),
        order: Vec::new(),
        source: None,
        uses: uses(setup.iter().chain(&steps).chain(&teardown).filter(|step| step.service.is_none())),
        services: services(setup.iter().chain(&steps).chain(&teardown)),
        setup,
        steps,
        teardown,
        id: id?,
    };
    if let Some(message) = too_many(&scenario, rows.len()) {
        reader.complain(Code::ScenarioValue, given(node, "for_each").unwrap_or(node), message).help =
            Some("use fewer rows, or split the scenario into several files".into());
        return None;
    }
    Some(for_rows(scenario, rows))
}

/// Why `rows` copies of a scenario would be too large.
fn too_many(scenario: &Scenario, rows: usize) -> Option<String> {
    let steps = scenario.setup.len() + scenario.steps.len() + scenario.teardown.len();
    let too_many = if steps.saturating_mul(rows.max(1)) > room::STEPS {
        format!("more than {} steps", room::STEPS)
    } else if size_of(scenario).saturating_mul(rows.max(1)) > room::BYTES {
        format!("more than {} MiB", room::BYTES >> 20)
    } else {
        return None;
    };
    let rows = if rows == 0 { String::new() } else { format!("{rows} rows of ") };
    Some(format!("{rows}{steps} steps are {too_many}"))
}

/// A scenario for each row, which share its weight; the scenario itself if there are no rows.
fn for_rows(scenario: Scenario, rows: Vec<RowVariables>) -> Vec<Scenario> {
    if rows.is_empty() {
        return vec![scenario];
    }
    #[expect(clippy::cast_precision_loss, reason = "there are at most a thousand rows")]
    let weight = scenario.weight / rows.len() as f64;
    let numbered = rows.into_iter().enumerate().map(|(at, row)| {
        let mut variables = scenario.variables.clone();
        variables.extend(row);
        let known = Variables::given(variables.clone());
        let described = |steps: &[ScenarioStep]| -> Vec<ScenarioStep> {
            let description = |step: &ScenarioStep| known.fill(&step.description).into_owned();
            steps.iter().map(|step| ScenarioStep { description: description(step), ..step.clone() }).collect()
        };
        Scenario {
            id: format!("{}-{}", scenario.id, at + 1),
            description: known.fill(&scenario.description).into_owned(),
            setup: described(&scenario.setup),
            steps: described(&scenario.steps),
            teardown: described(&scenario.teardown),
            weight,
            variables,
            ..scenario.clone()
        }
    });
    numbered.collect()
}

fn captured(steps: &[ScenarioStep]) -> impl Iterator<Item = String> {
    steps.iter().flat_map(|step| &step.capture).map(|capture| capture.name.clone())
}

fn services<'s>(steps: impl Iterator<Item = &'s ScenarioStep>) -> Vec<String> {
    let named = steps.filter_map(|step| step.service.clone());
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The step types of `steps`, including members of `parallel`.
fn uses<'s>(steps: impl Iterator<Item = &'s ScenarioStep>) -> Vec<String> {
    let words: BTreeSet<&str> = steps.flat_map(|step| step.action.leaves()).map(Action::word).collect();
    words.into_iter().map(str::to_owned).collect()
}

/// Number of fixtures that a scenario names.
fn named_in(node: &YamlNode) -> usize {
    match given(node, "fixtures").map(|list| &list.kind) {
        Some(NodeKind::List(items)) => items.len(),
        _ => 0,
    }
}

fn named_fixtures<'f>(
    reader: &mut NodeReader<'_>,
    node: &YamlNode,
    fixtures: &'f BTreeMap<String, Fixture>,
) -> Vec<&'f Fixture> {
    let (mut named, mut steps, mut bytes) = (Vec::new(), 0, 0);
    let Some(list) = given(node, "fixtures") else { return named };
    for item in reader.list(list, "`fixtures`") {
        let Some(name) = reader.text(item, "a fixture") else { continue };
        if let Some(fixture) = fixtures.get(&name) {
            steps += fixture.setup.len() + fixture.teardown.len();
            bytes += fixture.bytes;
            if steps > room::STEPS || bytes > room::BYTES {
                let (most, mib) = (room::STEPS, room::BYTES >> 20);
                let message = format!("the fixtures have more than {most} steps or {mib} MiB");
                reader.complain(Code::ScenarioValue, item, message);
                return Vec::new();
            }
            named.push(fixture);
            continue;
        }
        let complaint = reader.complain(Code::ScenarioFixture, item, format!("unknown fixture `{name}`"));
        *complaint = complaint.clone().suggest(&name, fixtures.keys().map(String::as_str));
        if fixtures.is_empty() {
            complaint.help = Some(format!("create `fixtures/{name}.yaml` next to the scenarios"));
        }
    }
    named
}

fn tags(reader: &mut NodeReader<'_>, node: &YamlNode) -> Vec<String> {
    let Some(list) = given(node, "tags") else { return Vec::new() };
    let items = reader.list(list, "`tags`");
    items.iter().filter_map(|item| reader.text(item, "a tag")).collect()
}

/// A keyword; the first one is the default.
fn choice<T: DeserializeOwned + Default>(
    reader: &mut NodeReader<'_>,
    node: &YamlNode,
    key: &str,
    known: &[&str],
) -> T {
    let word = given(node, key).and_then(|value| reader.word(value, &format!("`{key}`"), known));
    word.and_then(|word| serde_json::from_value(Value::String(word)).ok()).unwrap_or_default()
}

fn steps(reader: &mut NodeReader<'_>, node: &YamlNode, key: &str) -> Vec<ScenarioStep> {
    let Some(list) = given(node, key) else { return Vec::new() };
    let items = reader.list(list, &format!("`{key}`"));
    let (mut steps, mut bytes) = (Vec::new(), 0);
    for item in items {
        let room = (room::STEPS - steps.len(), room::BYTES - bytes);
        let Some((more, size)) = step::read(reader, item, room) else {
            let (most, mib) = (room::STEPS, room::BYTES >> 20);
            let message =
                format!("`{key}` has more than {most} steps or {mib} MiB with all rows of `for_each`");
            reader.complain(Code::ScenarioValue, item, message);
            return Vec::new();
        };
        steps.extend(more);
        bytes += size;
    }
    steps
}

fn weight(reader: &mut NodeReader<'_>, node: &YamlNode, default: f64) -> f64 {
    let Some(value) = given(node, "weight") else { return default };
    match value.to_json().as_f64() {
        Some(weight) if weight >= 0.0 => weight,
        Some(_) => {
            reader.complain(Code::ScenarioValue, value, "`weight` is below zero");
            1.0
        }
        None => {
            reader.mistyped(value, "`weight`", "a number");
            1.0
        }
    }
}

fn tier(reader: &mut NodeReader<'_>, node: &YamlNode, steps: &[ScenarioStep]) -> i64 {
    let written = given(node, "tier");
    match written.map(|value| value.to_json().as_i64()) {
        Some(None) => {
            if let Some(value) = written {
                reader.mistyped(value, "`tier`", "a whole number");
            }
            1
        }
        None | Some(Some(0)) => infer_tier(steps),
        Some(Some(tier)) => tier,
    }
}

/// Infers the difficulty of a scenario: many steps, retries, mixed step types and captures raise it.
fn infer_tier(steps: &[ScenarioStep]) -> i64 {
    let captures = steps.iter().filter(|step| !step.capture.is_empty()).count();
    let mixed = steps.windows(2).any(|pair| pair[0].action.word() != pair[1].action.word());
    let rich = |step: &ScenarioStep| !step.action.step_type().is_basic;
    let score = steps
        .iter()
        .map(|step| {
            1 + usize::from(rich(step))
                + usize::from(step.action.step().receives())
                + usize::from(step.retry.is_some())
        })
        .sum::<usize>();
    match (score + 2 * usize::from(mixed), captures) {
        (7.., _) | (_, 3..) => 3,
        (4.., _) | (_, 1..) => 2,
        _ => 1,
    }
}
