//! `atoll check`: what certainly fails is found before a run, with its place; what is right is never complained about.

use serde_json::Value;

use crate::binary::Project;

const HEAD: &str = "atoll = 1\n";

fn project() -> Project {
    Project::new().file("atoll.toml", "[providers.p]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\nfree = true\n[models.\"p/m\"]\ncontext = 1000\nmax_output = 100\n")
}

/// What is said about a pipeline, each as `line:column code message`.
fn said(project: &Project, text: &str) -> Vec<String> {
    project.write("p.toml", &format!("{HEAD}{text}"));
    let ran = project.run(&["check", "p.toml", "--format", "json"]);
    let found = ran.json();
    let line = |d: &Value| {
        format!(
            "{}:{} {} {}",
            d["line"],
            d["column"],
            d["code"].as_str().unwrap(),
            d["message"].as_str().unwrap()
        )
    };
    found["diagnostics"].as_array().unwrap().iter().map(line).collect()
}

fn find_all(cases: &[(&str, &str)]) {
    let project = project();
    for (text, wanted) in cases {
        let found = said(&project, text);
        assert!(found.len() == 1 && found[0].contains(wanted), "{text}\nwanted {wanted}\nfound {found:#?}");
    }
}

fn find_none(cases: &[&str]) {
    let project = project();
    for text in cases {
        let found = said(&project, text);
        assert!(found.is_empty(), "{text}\nfound {found:#?}");
    }
}

/// Pipelines, and what is said about the literal in each.
const REFUSED: &[(&str, &str)] = &[
    ("[steps.a]\nllm = { model = \"p/m\" }", "3:1 E0405 `llm`: `prompt` or `messages` is missing"),
    (
        "[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", messages = [{ role = \"user\", content = \"y\" }] }",
        "3:49 E0405 `llm`: `prompt` and `messages` are both set",
    ),
    (
        "[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", samples = 7 }",
        "`samples` is above 1, but `vote` is missing",
    ),
    ("[steps.a]\nllm = { model = \"p/m\", prompt = \" \" }", "3:33 E0405 `llm`: the prompt is empty"),
    ("[steps.a]\nllm = { model = [], prompt = \"x\" }", "E0405 `llm`: the list of models is empty"),
    (
        "[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", timeout = \"soon\" }",
        "`timeout` is not a duration",
    ),
    (
        "[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", mode = \"batch\" }",
        "3:17 W0403 `p/m` cannot be used in batches",
    ),
    ("[steps.a]\nagent = { prompt = \"x\" }", "3:1 E0405 `agent`: `model` or `cli` is missing"),
    ("[steps.a]\nagent = { model = \"p/m\", prompt = \"x\", tokens = 0 }", "E0405 `agent`: a limit is zero"),
    (
        "[steps.a]\nagent = { model = \"p/m\", prompt = \"x\", result = \"/abs\" }",
        "E0405 `agent`: the result",
    ),
    ("[steps.a]\nagent = { model = \"p/m\", prompt = \"x\", wall = \"never\" }", "is not a duration"),
    ("[steps.a]\nwrite = { path = \"x\" }", "3:1 E0405 exactly one of `text` and `json` is required"),
    ("[steps.a]\nwrite = { path = \"x\", text = \"\", json = 1 }", "3:41 E0405 exactly one of `text`"),
    ("[steps.a]\nwrite = { path = \"../x\", text = \"\" }", "3:18 E0405 the path \"../x\" leads out of"),
    ("[steps.a]\nwrite = { path = \".git/hooks/x\", text = \"{{ run.id }}\" }", "may not write into `.git`"),
    ("[steps.a]\nshell = { argv = [\"a\\u0000\"] }", "3:19 E0405 the command contains a null character"),
    ("[steps.a]\nshell = { argv = [\"x\"], cwd = \"a\\u0000\" }", "3:31 E0405 the directory contains a null"),
    (
        "[steps.a]\nshell = { argv = [\"x\"], env = { A = \"\\u0000\" } }",
        "E0405 the variable `A` of the command contains a",
    ),
    (
        "[steps.a]\nshell = { argv = [\"x\"], env = { A = { secret = \"x y\" } } }",
        "E0405 the variable `A` of the command has no valid name of a secret",
    ),
    (
        "[steps.a]\nhttp = { url = \"http://x\", headers = { a = { secret = \"x y\" } } }",
        "the header `a` has no valid name",
    ),
    (
        "[steps.a]\nhttp = { url = \"http://x\", headers = { a = { secret = \"X\", prefix = \"\\n\" } } }",
        "the value of the header \"a\" cannot be sent",
    ),
    (
        "[steps.a]\nhttp = { url = \"http://x\", query = { q = { secret = \"\" } } }",
        "the query parameter `q` has no valid name",
    ),
    (
        "[steps.a]\nhttp = { url = \"http://x\", basic = { user = \"u\", password = { secret = \"1 2\" } } }",
        "`basic.password` has no valid name of a secret",
    ),
    (
        "[inputs]\ns = { type = \"json\" }\n[steps.a]\nscenario = { scenario = \"{{ inputs.s }}\", authorization = { secret = \"a b\" } }",
        "the header `Authorization` of requests to the target has no valid name",
    ),
    (
        "[inputs]\ns = { type = \"json\" }\n[steps.a]\nscenario = { scenario = \"{{ inputs.s }}\", variables = { v = { secret = \"a b\" } } }",
        "the variable `v` of scenarios has no valid name",
    ),
    (
        "[steps.a]\nenvironment_load = { also = { services = { db = {} } } }",
        "the service `db` must have either",
    ),
    (
        "[steps.a]\npack = { files = [{ path = \"a\", content = \"{{ run.id }}\" }, { path = \"a/b\", content = \"\" }] }",
        "edit 2 of \"a/b\" does not apply: \"a\" is a file",
    ),
    (
        "[steps.a]\nedit = { files = { \"a/b\" = \"\", a = \"\" } }",
        "edit 2 of \"a\" does not apply: it is a directory",
    ),
    (
        "[steps.a]\nedit = { base = \"{{ run.dir }}\", edits = [{ path = \"a\", content = \"\" }, { op = \"rename\", path = \"b\", to = \"a/c\" }] }",
        "edit 2 of \"b\" does not apply",
    ),
    (
        "[steps.a]\nedit = { edits = [{ path = \"a\", find = \"x\", replace = \"y\" }] }",
        "edit 1 of \"a\" does not apply: there is no such file",
    ),
    ("[steps.a]\nedit = {}", "3:1 E0405 `edit` takes one of edits, files and text, found none"),
    ("[steps.a]\nedit = { files = [], text = \"{{ run.id }} and so on\" }", "found files and text"),
    ("[steps.a]\npack = {}", "3:1 E0405 `pack` takes `dir` or `files`, found neither"),
    (
        "[steps.a]\npack = { dir = \"src\", files = [{ path = \"a\", content = \"{{ run.id }}\" }] }",
        "found both",
    ),
    (
        "[steps.a]\npack = { files = [{ path = \"a\", content = \"{{ run.id }}\" }, { path = \"/b\", content = \"\" }] }",
        "it is absolute",
    ),
    ("[steps.a]\npack = { dir = \".\", ignore = [\"a[\"] }", "3:30 E0405 the glob"),
    ("[steps.a]\nedit = { edits = [{ path = \"a\", to = 3 }] }", "E0405"),
    (
        "[inputs]\nt = { type = \"json\" }\n[steps.b]\ndeliver = { tree = \"{{ inputs.t }}\", into = \".git/x\" }",
        "steps may not write into `.git`",
    ),
    (
        "[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", edits = {}, format = \"text\" }",
        "E0405 `llm`: `format` and `edits` are both set",
    ),
    (
        "[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", edits = { as = \"blocks\" }, samples = 3, vote = \"majority\" }",
        "`llm`: `samples` and `edits` are both set",
    ),
    (
        "[steps.a]\noutput = { type = \"object\" }\nllm = { model = \"p/m\", prompt = \"x\", edits = {} }",
        "4:38 E0405 `edits` says what the output is, and the step has `output` as well",
    ),
    ("[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", edits = { as = \"diff\" } }", "diff"),
    (
        "[steps.a]\nscenario_load = { dir = \"s\", tiers = [\"high\"] }",
        "3:39 E0405 `high` is not a valid tier",
    ),
    (
        "[steps.a]\nscenario_load = { dir = \"s\", weights = { critical = -1 } }",
        "the factor -1 of the tag `critical` is below zero",
    ),
    ("[steps.a]\nscenario_load = { dir = \"s\", visibility = [\"open\"] }", "open"),
    (
        "[steps.a]\ngrade = { scenarios = [], passing = 101, missing = { not_run = \"{{ run.id }}\" } }",
        "`passing` is 101, which is not from 0 to 100",
    ),
    ("[steps.a]\nfindings = { tells = \"full\" }", "`graded` or `build` is missing"),
    ("[steps.a]\nfindings = { graded = [], tells = \"full\", max = 0 }", "`max` is 0"),
    (
        "[inputs]\ng = { type = \"list\" }\nn = { type = \"number\", default = 1 }\n[steps.a]\ntotal = { graded = \"{{ inputs.g }}\", parts = { a = { score = \"{{ inputs.n }}\", share = 1 } } }",
        "the share of `a` is 1",
    ),
    ("[steps.a]\nenvironment_load = { also = { servces = {} } }", "unknown key `servces`"),
    ("[steps.a]\nhttp = { url = \"x.example/a\" }", "3:16 E0405 \"x.example/a\" is not a valid address"),
    ("[steps.a]\nhttp = { url = \"ftp://x/a\" }", "is neither http nor https"),
    ("[steps.a]\nhttp = { url = \"http://a:b@x/\" }", "contains a user name or password"),
    (
        "[steps.a]\nhttp = { url = \"http://x/\", json = { a = \"{{ run.id }}\" }, body = \"b\" }",
        "E0405 `json` and `body` are both set",
    ),
    ("[steps.a]\nhttp = { url = \"http://{{ run.id }}/\", method = \"a b\" }", "is not a valid HTTP method"),
    ("[steps.a]\nhttp = { url = \"http://x/\", timeout = \"0s\" }", "the timeout \"0s\" is not a duration"),
    (
        "[steps.a]\nhttp = { url = \"http://x/\", headers = { \"a b\" = \"{{ run.id }}\" } }",
        "is not a valid header name",
    ),
    ("[steps.a]\nshell = { argv = \"a b c\" }", "3:18 E0405 `argv` must be a list"),
    ("[steps.a]\nshell = { argv = [] }", "`argv` must be a list"),
    ("[steps.a]\nshell = { argv = [\"x\"], timeout = \"0s\" }", "`timeout` is zero"),
    (
        "[steps.a]\nshell = { argv = [\"x\", \"{{ run.id }}\"], timeout = \"never\" }",
        "3:51 E0405 `shell` cannot use its input: `never` is no",
    ),
    ("[steps.a]\nreach = { url = \"nonsense\" }", "`nonsense` is not an address"),
    ("[steps.a]\nreach = { url = \"http://x\", wait = -1 }", "`wait` is -1"),
    ("[steps.a]\nread = { path = \"\" }", "\"\" is not a valid path"),
    ("[steps.a]\nfail = { message = \"{{ run.id }}\", class = \"worse\" }", "unknown failure class `worse`"),
    (
        "[steps.a]\nhold = { service = { image = \"x\", memory = \"much\" } }\n[steps.a.steps.b]\nset = { x = 1 }",
        "`memory = \"much\"` is not a valid size",
    ),
    (
        "[steps.a]\nhold = { service = { image = \"{{ run.id }}\", ready = { http = \"/\", log = \"x\" } } }\n[steps.a.steps.b]\nset = { x = 1 }",
        "`ready` must have exactly one of",
    ),
    (
        "[steps.a]\nhold = { service = { image = \"x\", beside = { db = { image = \"y\", egress = [\"10.0.0.1:1\"] } } } }\n[steps.a.steps.b]\nset = { x = 1 }",
        "is not a host with a port",
    ),
    ("[steps.a]\ntimeout = \"0s\"\nset = { x = 1 }", "3:11 E0109 `timeout` is zero"),
    (
        "[steps.a]\nask = { question = \"q\", choices = [\"a\", \"b\"], default = \"c\" }",
        "`default`: `c` is not one of the choices: a, b",
    ),
    (
        "[steps.a]\nask = { question = \"q\", choices = [\"a\", \"b\"], deadline = \"1h\", at_deadline = \"c\" }",
        "`at_deadline`: `c` is not one of",
    ),
    ("[steps.a]\nask = { question = \"q\", choices = [] }", "`choices` is empty"),
    (
        "[steps.a.each]\nover = \"[1]\"\nmax_failures = -1\n[steps.a.steps.b]\nset = { x = 1 }",
        "4:16 E0109 a whole number of at least 0",
    ),
];

#[test]
fn literals_that_a_verb_refuses_are_found_where_they_are_written() {
    find_all(REFUSED);
}

#[test]
fn the_former_verb_for_trees_says_which_ones_are_meant() {
    let project = project();
    project.write("p.toml", "atoll = 1\n[steps.a]\nfiles = { dir = \"src\" }\n");
    let checked = project.run(&["check", "p.toml"]).exits(3);
    checked.stdout_has("there is no verb `files`").stdout_has("`pack` (a directory or files become a tree)");
}

#[test]
fn an_attempt_refuses_with_the_same_words() {
    let project = project();
    project.write("p.toml", "atoll = 1\n[inputs]\nurl = { type = \"string\", required = true }\n[steps.a]\nhttp = { url = \"{{ inputs.url }}\" }\n");
    let words = "\"x.example/a\" is not a valid address: relative URL without a base";
    project.run(&["run", "p.toml", "--url", "x.example/a", "--no-input"]).exits(1).stderr_has(words);
    let found = said(&project, "[steps.a]\nhttp = { url = \"x.example/a\" }");
    assert!(found[0].ends_with(words), "{found:?}");
}

#[test]
fn what_depends_on_a_template_is_left_to_the_run() {
    find_none(&[
        "[inputs]\np = { type = \"json\" }\nm = { type = \"json\" }\n[steps.a]\nllm = { model = \"p/m\", prompt = \"{{ inputs.p }}\", messages = \"{{ inputs.m }}\" }",
        "[inputs]\nn = { type = \"int\", default = 7 }\nv = { type = \"json\" }\n[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", samples = \"{{ inputs.n }}\", vote = \"{{ inputs.v }}\" }",
        "[inputs]\nn = { type = \"json\" }\n[steps.a]\nllm = { model = \"p/m\", prompt = \"x\", samples = 3, vote = \"{{ inputs.n }}\" }",
        "[inputs]\nu = { type = \"string\", default = \"http://x\" }\n[steps.a]\nhttp = { url = \"{{ inputs.u }}/a\", timeout = \"{{ inputs.u }}\", headers = { \"x-a\" = \"{{ inputs.u }}\\n\" } }",
        "[inputs]\nj = { type = \"json\" }\nb = { type = \"string\" }\n[steps.a]\nhttp = { url = \"http://x\", json = \"{{ inputs.j }}\", body = \"{{ inputs.b }}\" }",
        "[inputs]\nl = { type = \"bool\", default = true }\n[steps.a]\nshell = { argv = \"a b c\", shell = \"{{ inputs.l }}\" }",
        "[inputs]\na = { type = \"list\" }\nt = { type = \"json\" }\n[steps.a]\nshell = { argv = \"{{ inputs.a }}\", timeout = \"{{ inputs.t }}\" }",
        "[inputs]\nt = { type = \"string\" }\n[steps.a]\nwrite = { path = \"{{ inputs.t }}\", text = \"{{ inputs.t }}\", json = \"{{ inputs.t }}\" }",
        "[inputs]\nt = { type = \"json\" }\n[steps.a]\nedit = { base = \"{{ inputs.t }}\", edits = \"{{ inputs.t }}\", text = \"{{ inputs.t }}\" }",
        "[inputs]\nt = { type = \"json\" }\n[steps.a]\npack = { dir = \"{{ inputs.t }}\", files = \"{{ inputs.t }}\" }",
        "[inputs]\nt = { type = \"json\" }\n[steps.a]\nagent = { model = \"{{ inputs.t }}\", prompt = \"x\", tree = \"{{ inputs.t }}\", wall = \"{{ inputs.t }}\" }",
        "[inputs]\np = { type = \"int\", default = 80 }\n[steps.a]\nhold = { service = { image = \"x\", port = \"{{ inputs.p }}\", ready = { http = \"/\", port = \"{{ inputs.p }}\" } } }\n[steps.a.steps.b]\nset = { x = 1 }",
        "[inputs]\nc = { type = \"list\", default = [\"a\"] }\n[steps.a]\nask = { question = \"q\", choices = \"{{ inputs.c }}\", default = \"b\" }",
        "[inputs]\ng = { type = \"list\" }\nn = { type = \"number\", default = 2 }\n[steps.a]\ntotal = { graded = \"{{ inputs.g }}\", parts = { a = { score = 50, share = \"{{ inputs.n }}\" } } }",
        "[inputs]\ne = { type = \"json\" }\n[steps.a]\nhold = { service = { image = \"x\", environment = \"{{ inputs.e }}\", ready = { http = \"/\", port = 9 } } }\n[steps.a.steps.b]\nset = { x = 1 }",
        "[steps.a]\nshell = { argv = [\"x\"], timeout = \"0s\", observe = true }",
        "[steps.a]\nshell = { argv = \"a | b\", shell = true }",
        "[steps.a]\npack = { files = { \"a/b\" = \"{{ run.id }}\" } }",
    ]);
}

#[test]
fn the_status_of_a_step_may_be_read_by_any_step() {
    let each = "[steps.all.each]\nover = \"[1, 2]\"\non_error = \"keep\"\n[steps.all.steps.x]\nset = { v = \"{{ item }}\" }\n";
    find_none(&[
        &format!("{each}[steps.r]\nset = {{ bad = \"{{{{ steps.all.failed | length }}}}\" }}"),
        &format!("{each}[steps.r]\nset = {{ all = \"{{{{ steps.all.items | length }}}}\" }}"),
        &format!("{each}[steps.r]\nset = {{ x = \"{{{{ steps.all.ok }}}}\" }}"),
        "[steps.a]\nset = { x = 1 }\n[steps.r]\non_pause = true\nset = { x = \"{{ steps.a.failed }}\" }",
        "[steps.l.loop]\nmax = 3\n[steps.l.steps.x]\nset = { v = 1 }\n[steps.r]\non_pause = true\nset = { done = \"{{ steps.l.ok }}\" }",
    ]);
}

#[test]
fn values_of_the_wrong_type_are_found() {
    let shell = "[steps.s]\nshell = { argv = [\"true\"] }\n";
    let set = |expression: &str| {
        format!(
            "[steps.v]\nset = {{ n = 3, t = \"abc\", l = [1], o = {{ a = 1 }} }}\n[steps.w]\nset = {{ x = \"{{{{ {expression} }}}}\" }}"
        )
    };
    let state = |next: &str| {
        format!(
            "[steps.l.loop]\nmax = 3\n[steps.l.loop.state]\nn = 0\no = \"{{'a': 1, 'b': 'x'}}\"\n[steps.l.loop.next]\n{next}\n[steps.l.steps.x]\nset = {{ v = \"{{{{ state.n }}}}{{{{ state.o }}}}\" }}"
        )
    };
    let function = |value: &str, call: &str| {
        format!(
            "[functions.f]\nargs = [\"a\"]\nvalue = \"{value}\"\n[steps.w]\nset = {{ x = \"{{{{ {call} }}}}\" }}"
        )
    };
    let ask = |when: &str| {
        format!(
            "[steps.q]\nask = {{ question = \"q\", choices = [\"a\", \"b\"] }}\n[steps.w]\nwhen = \"{when}\"\nset = {{ x = 1 }}"
        )
    };
    let cases: Vec<(String, &str)> = vec![
        ("[steps.s]\ncheck = [\"output.code == 0\"]\nshell = { argv = [\"true\"] }".into(), "E0207 `output` has no `code`"),
        (format!("{shell}[steps.w]\nset = {{ x = \"{{{{ steps.s.output.exit_code == '0' }}}}\" }}"), "E0308 cannot compare a number with text"),
        ("[steps.c]\ncompute = { init = { x = 1 }, next = { x = \"state.x + 1\" }, until = \"state.x > 'a'\", max = 10 }".into(), "E0308"),
        ("[steps.c]\ncompute = { init = { x = 1 }, next = { x = \"state.x ~ 'a'\" }, until = \"state.y == 1\", max = 10 }".into(), "E0206 `state` has no `y`"),
        (state("o = \"{'a': state.o.c + 1, 'b': 'y'}\""), "E0206 `state.o` has no field `c`"),
        (state("n = \"state.n + state.o.b\""), "E0308 cannot add a number and text"),
        (function("a.k + 1", "f({'z': 1})"), "E0206 in `f`: an object here has no field `k`"),
        (function("a | round(1)", "f('x')"), "E0308 in `f`: `round` works on a number, this is text"),
        (ask("steps.q.output == 'yes'"), "W0301 this is never `yes`: it is one of a, b"),
        (ask("steps.q.output in ['yes', 'no']"), "W0301 this is never `yes` or `no`"),
        ("[inputs]\nm = { type = \"enum\", values = [\"fast\", \"slow\"], default = \"fast\" }\n[steps.w]\nwhen = \"inputs.m != 'fsat'\"\nset = { x = 1 }".into(), "W0301 this is never `fsat`"),
        (set("steps.v.output.t | round(1)"), "E0308 `round` works on a number, this is text"),
        (set("steps.v.output.n | sort"), "E0308 `sort` works on a list, this is a number"),
        (set("steps.v.output.o | trim"), "E0308 `trim` works on text, this is an object"),
        (set("steps.v.output.l | upper"), "E0308 `upper` works on text, this is a list"),
        (set("steps.v.output.n | length"), "E0308 `length` works on"),
        (set("steps.v.output.t | replace(1, 2)"), "E0308 `old` of `replace` is text, this is a number"),
        (set("steps.v.output.l | join(1)"), "E0308 `separator` of `join` is text"),
        (set("-steps.v.output.t"), "E0308 `-` calculates with numbers, this is text"),
        (set("steps.v.output.t % steps.v.output.n"), "E0308 `%` calculates with numbers"),
        (set("steps.v.output.n * steps.v.output.l"), "E0308 `*` calculates with numbers"),
        (set("steps.v.output.o + steps.v.output.o"), "E0308 cannot add an object and an object"),
        (set("steps.v.output.t is odd"), "E0308 `is odd` asks about a number, this is text"),
        (set("steps.v.output.n is matching('a')"), "E0308 `is matching` asks about text"),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    find_all(&cases);
}

#[test]
fn values_whose_type_is_not_known_or_varies_are_left_alone() {
    find_none(&[
        "[steps.v]\nset = { v = \"abc\" }\n[steps.w]\nset = { x = \"{{ steps.v.output.v.name if steps.v.output.v is mapping else 1 }}{% if steps.v.output.v is mapping %}{{ steps.v.output.v.k }}{% endif %}\", y = \"{{ steps.v.output.v is mapping and steps.v.output.v.k == 1 }}\" }",
        "[inputs]\nj = { type = \"json\" }\n[steps.w]\nset = { x = \"{{ inputs.j | round }}{{ -inputs.j }}{{ inputs.j | sort | join }}\" }",
        "[steps.s]\ncheck = [\"output.exit_code == none or output.exit_code == 0\", \"output.ok\"]\nshell = { argv = [\"true\"] }",
        "[steps.s]\noutput = { type = \"object\", properties = { code = { type = \"integer\" } }, additionalProperties = true }\ncheck = [\"output.code == 0\"]\nllm = { model = \"p/m\", prompt = \"x\" }",
        "[functions.size]\nargs = [\"a\"]\nvalue = \"a | length if a is string else a.size\"\n[steps.w]\nset = { x = \"{{ size('abc') }}\", y = \"{{ size({'size': 3}) }}\" }",
        "[functions.firstly]\nargs = [\"a\"]\nvalue = \"a.k if a.k is defined else 0\"\n[steps.w]\nset = { x = \"{{ firstly({'z': 1}) }}\" }",
        "[functions.pick]\nargs = [\"a\"]\nvalue = \"a.k | default(0)\"\n[steps.w]\nset = { x = \"{{ pick({'z': 1}) }}\" }",
        "[functions.both]\nargs = [\"a\"]\nvalue = \"a is mapping and a.k > 1\"\n[steps.w]\nset = { x = \"{{ both('a') }}\" }",
        "[steps.w]\nset = { x = \"{% set v = {'a': 1} %}{{ v.b if v.b is defined else 'none' }}\" }",
        "[steps.l.loop]\nmax = 3\n[steps.l.loop.state]\nbest = \"none\"\n[steps.l.loop.next]\nbest = \"1 if state.best is none else state.best + 1\"\n[steps.l.steps.x]\nset = { v = \"{{ state.best }}\" }",
        "[steps.l.loop]\nmax = 3\n[steps.l.loop.state]\nall = \"[]\"\n[steps.l.loop.next]\nall = \"state.all + [steps.x.output.v]\"\n[steps.l.steps.x]\nset = { v = \"{{ state.all | length }}\" }",
        "[steps.c]\ncompute = { seed = 7, init = { x = \"seed\", l = \"[]\" }, next = { x = \"state.x // 2 if state.x % 2 == 0 else 3 * state.x + 1\", l = \"state.l + [n]\" }, until = \"state.x == 1\", max = 100 }",
        "[steps.q]\nask = { question = \"q\", choices = [\"a\", \"b\"] }\n[steps.w]\nwhen = \"steps.q.output in ['a', 'yes']\"\nset = { x = \"{{ 'A' if steps.q.output == 'a' else 'B' }}\" }",
        "[steps.q]\nask = { question = \"q\" }\n[steps.w]\nwhen = \"steps.q.output == 'yes'\"\nset = { x = 1 }",
        "[steps.q]\nask = { question = \"q\", default = 3 }\n[steps.w]\nwhen = \"steps.q.output == 3\"\nset = { x = 1 }",
    ]);
}

/// What is said about a service that is held.
const HELD: &[(&str, &str)] = &[
    ("image = \"x\", after = [\"q\"]", "`program` starts after the unknown service `q`"),
    (
        "image = \"x\", beside = { a = { image = \"y\", after = [\"q\"] } }",
        "`a` starts after the unknown service `q`",
    ),
    ("image = \"x\", beside = { program = { image = \"y\" } }", "two services have the name `program`"),
    ("image = \"x\", name = \"a\", beside = { a = { image = \"y\" } }", "two services have the name `a`"),
    (
        "image = \"x\", beside = { a = { image = \"y\", after = [\"b\"] }, b = { image = \"z\", after = [\"a\"] } }",
        "these services wait for each other",
    ),
    ("image = \"x\", beside = { a = { image = \"y\" } }", "`program` and `a` both listen on port 8080"),
    ("image = \"x\", port = 443, egress = [\"a.b:443\"]", "listens on port 443 itself"),
    (
        "image = \"x\", env = { A = { secret = \"x y\" } }",
        "the variable `A` of the service has no valid name",
    ),
    (
        "image = \"x\", command = [\"a\", \"\\u0000\"]",
        "the command line of the service contains a null character",
    ),
    ("image = \"x\", volumes = { v = \"/a\\u0000\" }", "is not an absolute path"),
    ("image = \"x\\u0000\"", "the name of the image contains a null character"),
];

#[test]
fn services_that_no_machine_could_hold_are_found() {
    let held = |with: &str| {
        format!("[steps.s]\nhold = {{ service = {{ {with} }} }}\n[steps.s.steps.z]\nset = {{ a = 1 }}")
    };
    let cases: Vec<(String, &str)> = HELD.iter().map(|(with, wanted)| (held(with), *wanted)).collect();
    let cases: Vec<(&str, &str)> = cases.iter().map(|(text, wanted)| (text.as_str(), *wanted)).collect();
    find_all(&cases);
    let sound: Vec<String> = [
        "image = \"x\", name = \"{{ run.id }}\", beside = { program = { image = \"y\", port = 81 } }",
        "image = \"x\", after = [\"{{ run.id }}\"]",
        "image = \"x\", beside = { a = { image = \"y\", port = \"{{ 1 + 1 }}\" } }",
        "image = \"x\", beside = { a = { image = \"y\", ready = \"none\" } }",
        "image = \"x\", beside = { a = { image = \"y\", port = 81, after = [\"b\"] }, b = { image = \"z\", port = 82 } }",
    ]
    .map(held)
    .to_vec();
    find_none(&sound.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn answers_of_every_kind_have_a_type() {
    let asked = |choices: &str, reads: &str| {
        format!(
            "[steps.q]\nask = {{ question = \"?\", choices = {choices} }}\n[steps.a]\nset = {{ x = \"{{{{ {reads} }}}}\" }}"
        )
    };
    for (choices, reads, wanted) in [
        ("[1, 2]", "steps.q.output == '1'", "E0308 cannot compare a number with text"),
        ("[1, 2]", "steps.q.output > 'a'", "E0308 `>` orders numbers or texts"),
        ("[1, 2]", "steps.q.output | upper", "E0308 `upper` works on text"),
        ("[1, 2]", "steps.q.output == 3", "W0301 this is never `3`: it is one of 1, 2"),
        ("[1, 2.5]", "steps.q.output in [3, 4]", "W0301 this is never `3` or `4`"),
        ("[1, 2]", "steps.q.output is eq 3", "W0301 this is never `3`"),
        ("[1, -1]", "-2 != steps.q.output", "W0301 this is never `-2`"),
        ("[true, false]", "steps.q.output == 'yes'", "E0308 cannot compare a truth value with text"),
        ("[1, 'x']", "steps.q.output == 'y'", "W0301 this is never `y`: it is one of 1, x"),
        ("['yes', 'no']", "steps.q.output == 'yse'", "W0301 this is never `yse`"),
    ] {
        find_all(&[(&asked(choices, reads), wanted)]);
    }
    let sound: Vec<String> = [
        ("[1, 2]", "steps.q.output == 1.0"),
        ("[1, 2]", "steps.q.output + 1 > 3"),
        ("[1, 'x']", "steps.q.output == 'x'"),
        ("[1, 2]", "steps.q.output in [2, 7]"),
        ("[1, 2]", "steps.q.output is none"),
        ("[1, '{{ run.id }}']", "steps.q.output == 'x'"),
        ("[1, 2]", "steps.q.output == (2 if run.id == 'x' else 3)"),
    ]
    .map(|(choices, reads)| asked(choices, reads))
    .to_vec();
    find_none(&sound.iter().map(String::as_str).collect::<Vec<_>>());
    find_all(&[(
        "[steps.q]\nask = { question = \"?\", choices = [1, 2] }\ncheck = [\"output == 3\"]",
        "W0301 this is never `3`",
    )]);
}

/// One mistake each: what only follows from it is not said.
#[test]
fn a_wrong_value_makes_no_second_complaint() {
    find_all(&[
        (
            "[inputs]\nd = { type = \"duration\" }\n[steps.a]\nask = { question = \"?\", deadline = \"{{ inputs.d }}\", at_deadline = \"x\" }",
            "E0107 `{{ inputs.d }}` is not a duration",
        ),
        (
            "[steps.a]\nloop = { max = [1] }\n[steps.a.steps.b]\nset = { x = 1 }",
            "E0103 `max` must be an expression",
        ),
        (
            "[steps.a]\nloop = { max = 2, state = { n = [1] }, next = { n = \"state.n + 1\" } }\n[steps.a.steps.b]\nset = { x = \"{{ state.n }}\" }",
            "E0103 `n` must be an expression",
        ),
        (
            "[inputs]\na = { type = \"foo\" }\n[steps.a]\nset = { x = \"{{ inputs.a }}\" }",
            "E0108 there is no type of input",
        ),
        (
            "[inputs]\na = { type = \"enum\", values = \"x\" }\n[steps.a]\nset = { x = \"{{ inputs.a }}\" }",
            "E0103 `values`",
        ),
        (
            "[inputs]\na = \"string\"\n[steps.a]\nset = { x = \"{{ inputs.a }}\" }",
            "E0103 the input must be a table",
        ),
        ("[lanes]\nl = [1]\n[steps.a]\nlane = \"l\"\nset = { x = 1 }", "E0103 `l` must be an expression"),
        ("[lanes]\nl = \"x\"\n[steps.a]\nlane = \"l\"\nset = { x = 1 }", "E0201 nothing is called `x`"),
        (
            "[functions]\nf = { args = [\"x\"] }\n[steps.a]\nset = { x = \"{{ f(1) }}\" }",
            "E0104 `value` is missing in the function",
        ),
        (
            "[outputs]\no = [1]\n[steps.a]\nset = { x = 1 }\n[exits]\ns = \"outputs.o == 1\"",
            "E0103 `o` must be",
        ),
        ("[steps.a]\nhold = \"service\"\n[steps.a.steps.b]\nset = { x = 1 }", "E0103 `hold` must be a table"),
        ("[steps]\na = 5", "E0103 the step must be a table"),
        (
            "[steps.a]\ncache = \"yes\"\ninputs = [\"x\"]\nset = { x = 1 }",
            "E0103 `cache` must be `true` or `false`",
        ),
    ]);
    // And two mistakes are two complaints.
    let found = said(&project(), "[steps.a]\nask = { at_deadline = 1, default = 2 }");
    assert_eq!(found.len(), 2, "{found:#?}");
}

#[test]
fn caps_and_time_limits_that_cannot_hold_are_told() {
    let text = "atoll = 1\n[inputs.s]\ntype = \"string\"\ndefault = \"x\"\n[steps.s]\nset = { a = 1 }\n\
                [steps.l]\ntimeout = \"1s\"\nretry = { max = 2 }\nloop = { max = 2 }\n[steps.l.steps.x]\nset = { a = 1 }\n\
                [steps.all]\ntimeout = \"1s\"\neach = { over = \"[1]\" }\n[steps.all.steps.x]\nset = { a = 1 }\n\
                [limits]\nusd = \"steps.s.output.a\"\ncalls = \"inputs.s\"\nwall = \"'10m'\"\n[outputs]\na = \"steps.s.output.a\"\n";
    let project = Project::new().file("p.toml", text);
    let checked = project.run(&["check", "p.toml"]).exits(3);
    for words in [
        "caps of a whole run do not see its steps",
        "a number or `none` is needed here, this is text",
        "`timeout` of a step with `loop` bounds only what its own expressions take",
        "a step with `loop` is not tried again",
        "`timeout` of a step with `each` bounds only what its own expressions take",
        "2 errors, 3 warnings",
    ] {
        assert!(
            checked.stdout.contains(words) || checked.stderr.contains(words),
            "{words}: {}",
            checked.stdout
        );
    }
}
