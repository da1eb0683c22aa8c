//! What a filter, a test or a call means: which function runs, with which arguments in which places.
//!
//! Everything is settled at load: unknown names, misnamed and missing arguments are faults. What is printed has its
//! arguments in the order in which the functions expect them.

use std::borrow::Cow;
use std::ops::Range;

use super::ast::{Arg, Kind, Node};
use super::fault::{Fault, FaultKind};
use super::filters::{self, Absent, Filter, Param};
use super::functions::Functions;
use super::tests_table::{self, TESTS, Test};
use crate::diag::nearest;

/// A resolved call.
pub(super) struct Call<'a> {
    pub target: Target,
    pub args: Vec<Given<'a>>,
}

/// What a call runs.
#[derive(Clone, Copy)]
pub(super) enum Target {
    Filter(&'static Filter),
    Test(&'static Test),
    Range,
    /// A function of the pipeline, by its place.
    Function(usize),
}

/// One argument of a resolved call.
pub(super) enum Given<'a> {
    /// A value, which must not be undefined.
    Value(&'a Node),
    /// A value that may be undefined.
    Raw(&'a Node),
    /// Literal text.
    Text(&'a str),
    /// An argument that was left out.
    Absent(Absent),
    /// A function of the pipeline, by its place.
    Function(usize),
}

static RANGE: [Param; 3] = [
    Param { name: Cow::Borrowed("start"), optional: false, rest: false, absent: Absent::None },
    Param { name: Cow::Borrowed("stop"), optional: true, rest: false, absent: Absent::None },
    Param { name: Cow::Borrowed("step"), optional: true, rest: false, absent: Absent::None },
];

/// Resolves `node` if it is a filter, a test or a call.
pub(super) fn resolve<'a>(node: &'a Node, functions: &Functions) -> Result<Option<Call<'a>>, Fault> {
    match &node.kind {
        Kind::Filter { name, name_span, base, args } => {
            filter(name, name_span, base, args, functions).map(Some)
        }
        Kind::Test { name, name_span, base, args } => test(name, name_span, base, args).map(Some),
        Kind::Call { name, name_span, args } => function(name, name_span, args, functions).map(Some),
        _ => Ok(None),
    }
}

fn filter<'a>(
    name: &'a str,
    span: &Range<usize>,
    base: &'a Node,
    args: &'a [Arg],
    functions: &Functions,
) -> Result<Call<'a>, Fault> {
    let Some(found) = filters::find(name) else {
        if let (Some(params), Some(place)) = (functions.params(name), functions.place(name)) {
            let mut given = vec![Given::Value(base)];
            given.extend(bind(name, span, params.get(1..).unwrap_or_default(), args)?);
            if params.is_empty() {
                return Err(Fault::new(
                    FaultKind::Arity,
                    span.clone(),
                    format!("`{name}` takes no arguments"),
                ));
            }
            return Ok(Call { target: Target::Function(place), args: given });
        }
        return Err(unknown_filter(name, span, functions));
    };
    let subject = if name == "default" { Given::Raw(base) } else { Given::Value(base) };
    let mut bound = bind(name, span, &found.params(), args)?;
    match name {
        "map" => applied(&mut bound, span, functions)?,
        "select" | "reject" => tested(&mut bound, 0, functions)?,
        "selectattr" | "rejectattr" => tested(&mut bound, 1, functions)?,
        _ => {}
    }
    bound.insert(0, subject);
    Ok(Call { target: Target::Filter(found), args: bound })
}

fn unknown_filter(name: &str, span: &Range<usize>, functions: &Functions) -> Fault {
    let fault = Fault::new(FaultKind::UnknownFilter, span.clone(), format!("there is no filter `{name}`"));
    let known = filters::filters().iter().map(|doc| doc.name).chain(functions.names());
    let help = match name {
        "count" | "len" | "size" => "write `length`".to_owned(),
        "d" => "write `default`".to_owned(),
        "e" | "escape" | "safe" => "templates escape nothing".to_owned(),
        "batch" | "slice" => "write `chunk(size)`".to_owned(),
        "groupby" => "write `group_by`".to_owned(),
        "pprint" => "write `tojson(2)`".to_owned(),
        "dictsort" => "write `items | sort`".to_owned(),
        "attr" => "write `value[key]`".to_owned(),
        "bool" => "compare: `value == 'true'`".to_owned(),
        _ => match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => return fault,
        },
    };
    fault.help(help)
}

fn test<'a>(name: &'a str, span: &Range<usize>, base: &'a Node, args: &'a [Arg]) -> Result<Call<'a>, Fault> {
    let Some(found) = tests_table::find(name) else { return Err(unknown_test(name, span)) };
    let subject = if matches!(name, "defined" | "undefined") { Given::Raw(base) } else { Given::Value(base) };
    if args.len() != found.args || args.iter().any(|arg| arg.name.is_some()) {
        return Err(wrong_count(name, span, found.args));
    }
    let mut given = vec![subject];
    given.extend(args.iter().map(|arg| Given::Value(&arg.value)));
    Ok(Call { target: Target::Test(found), args: given })
}

fn unknown_test(name: &str, span: &Range<usize>) -> Fault {
    let fault = Fault::new(FaultKind::UnknownTest, span.clone(), format!("there is no test `{name}`"));
    match nearest(name, TESTS.iter().map(|test| test.name)) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    }
}

fn wrong_count(name: &str, span: &Range<usize>, wanted: usize) -> Fault {
    let wanted = match wanted {
        0 => "no argument".to_owned(),
        1 => "one argument".to_owned(),
        n => format!("{n} arguments"),
    };
    Fault::new(FaultKind::Arity, span.clone(), format!("`{name}` takes {wanted}"))
}

fn function<'a>(
    name: &'a str,
    span: &Range<usize>,
    args: &'a [Arg],
    functions: &Functions,
) -> Result<Call<'a>, Fault> {
    if name == "range" {
        return Ok(Call { target: Target::Range, args: bind(name, span, &RANGE, args)? });
    }
    if let (Some(params), Some(place)) = (functions.params(name), functions.place(name)) {
        return Ok(Call { target: Target::Function(place), args: bind(name, span, &params, args)? });
    }
    let fault =
        Fault::new(FaultKind::UnknownFunction, span.clone(), format!("there is no function `{name}`"));
    if filters::find(name).is_some() {
        return Err(fault.help(format!("it is a filter: `value | {name}`")));
    }
    Err(match nearest(name, functions.names().chain(["range"])) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    })
}

/// Puts arguments into the places of `params`: named ones first, in their order, then those that `*more` takes.
fn bind<'a>(
    name: &str,
    span: &Range<usize>,
    params: &[Param],
    args: &'a [Arg],
) -> Result<Vec<Given<'a>>, Fault> {
    let arity = |message: String| {
        Err(Fault::new(FaultKind::Arity, span.clone(), message)
            .help(format!("it is called `{name}({})`", shown(params))))
    };
    let mut places: Vec<Option<&Node>> = params.iter().map(|_| None).collect();
    let mut rest = Vec::new();
    for (i, arg) in args.iter().enumerate() {
        let at = match &arg.name {
            Some((given, at)) => {
                let found = params.iter().position(|param| param.name == given.as_str() && !param.rest);
                let Some(found) = found.filter(|found| places[*found].is_none()) else {
                    let message = format!("`{name}` takes no argument `{given}`");
                    let help = format!("it is called `{name}({})`", shown(params));
                    return Err(Fault::new(FaultKind::Arity, at.clone(), message).help(help));
                };
                found
            }
            None => match params.iter().position(|param| param.rest) {
                Some(more) if i >= more => {
                    rest.push(Given::Value(&arg.value));
                    continue;
                }
                _ if i < params.len() => i,
                _ => return arity(format!("`{name}` has too many arguments")),
            },
        };
        places[at] = Some(&arg.value);
    }
    let mut bound = Vec::with_capacity(params.len() + rest.len());
    for (param, place) in params.iter().zip(places) {
        match place {
            Some(node) => bound.push(Given::Value(node)),
            None if param.rest => {}
            None if param.optional => bound.push(Given::Absent(param.absent)),
            None => return arity(format!("`{name}` lacks the argument `{}`", param.name)),
        }
    }
    bound.extend(rest);
    Ok(bound)
}

fn shown(params: &[Param]) -> String {
    let words = params.iter().map(|param| match (param.rest, param.optional) {
        (true, _) => format!("*{}", param.name),
        (false, true) => format!("{}=…", param.name),
        (false, false) => param.name.to_string(),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The name that a filter of filters was given: written out, so that it can be checked at load.
fn literal<'a>(given: &Given<'a>, what: &str) -> Result<Option<(&'a str, Range<usize>)>, Fault> {
    match given {
        Given::Value(Node { kind: Kind::Text(name), span }) => Ok(Some((name, span.clone()))),
        Given::Value(node) => Err(Fault::new(
            FaultKind::Syntax,
            node.span.clone(),
            format!("the name of the {what} must be written out as text"),
        )),
        _ => Ok(None),
    }
}

/// `map`: places are filter, attribute, default, then the filter's own arguments.
fn applied(bound: &mut Vec<Given<'_>>, span: &Range<usize>, functions: &Functions) -> Result<(), Fault> {
    let by_attribute = !matches!(&bound[1], Given::Absent(_));
    let Some((name, at)) = literal(&bound[0], "filter")? else {
        if by_attribute {
            return Ok(());
        }
        return Err(Fault::new(FaultKind::Arity, span.clone(), "`map` takes a filter or an attribute")
            .help("write `map('upper')` or `map(attribute='score')`"));
    };
    if by_attribute {
        return Err(Fault::new(
            FaultKind::Arity,
            span.clone(),
            "`map` takes a filter or an attribute, not both",
        ));
    }
    let extra = bound.len() - 3;
    if let Some(target) = own(name, &at, extra, functions)? {
        bound[0] = target;
        return Ok(());
    }
    let Some(filter) = filters::find(name) else { return Err(unknown_filter(name, &at, functions)) };
    let params = filter.params();
    let required = params.iter().filter(|param| !param.optional).count();
    let open = params.iter().any(|param| param.rest);
    if matches!(name, "map" | "select" | "reject" | "selectattr" | "rejectattr" | "default") {
        return Err(Fault::new(FaultKind::Arity, at, format!("`{name}` cannot be mapped"))
            .help("name it with a function"));
    }
    if extra < required || (extra > params.len() && !open) {
        let message = format!("`{name}` is called `{name}({})`", shown(&params));
        return Err(Fault::new(FaultKind::Arity, at, message));
    }
    let absent = params.iter().skip(extra).filter(|param| !param.rest);
    bound.extend(absent.map(|param| Given::Absent(param.absent)));
    Ok(())
}

/// `select` and its kin: the test stands at `place`, its own arguments follow it.
fn tested(bound: &mut [Given<'_>], place: usize, functions: &Functions) -> Result<(), Fault> {
    let Some((name, at)) = literal(&bound[place], "test")? else { return Ok(()) };
    let extra = bound.len() - place - 1;
    if let Some(target) = own(name, &at, extra, functions)? {
        bound[place] = target;
        return Ok(());
    }
    let Some(test) = tests_table::find(test_name(name)) else { return Err(unknown_test(name, &at)) };
    if test.args != extra {
        return Err(wrong_count(name, &at, test.args));
    }
    bound[place] = Given::Text(test.name);
    Ok(())
}

/// Operators are tests too: `selectattr('n', '>', 3)`.
fn test_name(name: &str) -> &str {
    match name {
        "==" | "equalto" => "eq",
        "!=" => "ne",
        "<" => "lt",
        "<=" => "le",
        ">" => "gt",
        ">=" => "ge",
        other => other,
    }
}

/// A function of the pipeline that takes an item and `extra` arguments.
fn own(
    name: &str,
    at: &Range<usize>,
    extra: usize,
    functions: &Functions,
) -> Result<Option<Given<'static>>, Fault> {
    let Some(params) = functions.params(name) else { return Ok(None) };
    if params.len() != extra + 1 {
        let message = format!("`{name}` is called `{name}({})`", shown(&params));
        let help = "the item is its first argument, the others follow its name";
        return Err(Fault::new(FaultKind::Arity, at.clone(), message).help(help));
    }
    Ok(functions.place(name).map(Given::Function))
}
