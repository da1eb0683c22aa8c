use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($code:ident $name:ident $severity:ident $title:literal $explanation:literal)+) => {
        /// Every kind of complaint there is. Numbers are never used again for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// All codes, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The number, e.g. `E0203`.
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => stringify!($code),)+ }
            }

            /// What it is about, in one line.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means, an example, and what to do: for `atoll explain`.
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)+ }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

// E00 files and TOML · E01 structure of a pipeline · E02 names and references · E03 expressions and templates ·
// E04 verbs and schemas · E05 control and graph · E06 inputs · E07 scenarios · W warnings of the same groups.
codes! {
    E0001 Syntax Error "the file is no valid TOML"
        "The text could not be read as TOML. All syntax errors of the file are listed; mend the first one first."
    E0701 ScenarioSyntax Error "the scenario file is no valid YAML"
        "The file could not be read as YAML; the message says what was expected and the place is where reading stopped. \
         Often a line above it lacks a closing quote or bracket, or text with `: ` in it needs quotes."
    E0702 ScenarioKey Error "a key that scenarios do not have"
        "Unknown keys are refused, because a misspelt `expect` or `retry` would otherwise be left out without a word. \
         The help names the nearest known key."
    E0703 ScenarioShape Error "a value of the wrong type in a scenario"
        "A list, a mapping, text or a number stands where something else is expected, e.g. `steps:` without dashes."
    E0704 ScenarioMissing Error "a scenario lacks something it needs"
        "A scenario needs `id` and at least one step; a request needs `method` and `path`, a command needs `command`, a \
         capture needs `name`."
    E0705 ScenarioStepType Error "a step type that this version does not run"
        "The step is valid in the scenario format, but this version runs `request` and `exec` steps only. Leave the file \
         out of the directory, or say the same with a request or a command."
    E0706 ScenarioAction Error "a step without an action, or with more than one"
        "Each step does exactly one thing: it has one of the keys `request` and `exec`. Split a step that has both."
    E0707 ScenarioTwice Error "two scenarios with the same id"
        "Ids name scenarios in results, so each may be used once in a directory. Both places are shown; rename one."
    E0708 ScenarioNone Error "no scenarios"
        "The directory has no file that ends in `.yaml` or `.yml` (subdirectories are not searched), or a file is empty. \
         Nothing to check is never taken for success."
    E0709 ScenarioTime Error "no length of time"
        "Lengths of time are numbers with units, such as `300ms`, `1.5s` or `1m30s`. A bare number is refused, because \
         nobody can tell whether it means seconds or milliseconds."
    E0710 ScenarioValue Error "a value that is out of range"
        "The value has the right type but cannot be used: an unknown HTTP method, a negative weight, a file path that is \
         not absolute."
    E0711 ScenarioCapture Error "a capture that cannot work"
        "A capture keeps a part of an answer: `jsonpath`, `source`, or both. A request has the sources `status`, `body` and \
         `header:NAME`; a command has `stdout`, `stderr` and `exitcode`."
    E0712 ScenarioPath Error "no JSONPath"
        "Paths follow RFC 9535: `$.items[0].id`, `$.items[?@.done].id`; keys that are no identifiers are quoted: \
         `$['a b']`."
    E0713 ScenarioPattern Error "a pattern or schema that does not compile"
        "`matches` takes a regular expression (without look-around and back-references), `schema` a JSON Schema of draft \
         2020-12. The message says what is wrong with it."
    E0714 ScenarioAssert Error "an assertion that cannot be decided"
        "The assertion asks for something that this kind of step does not have, such as the `exit_code` of a request, or \
         names no known comparison."
    E0715 ScenarioFile Error "a scenario file that cannot be read"
        "The file is there but could not be read, or is no UTF-8 text. Save it as UTF-8 and check its permissions."
    W0701 ScenarioUnset Warning "a placeholder that nothing has set"
        "`{name}` stands for a captured value, and no earlier step captures one of that name, so the text is sent as it is \
         written. Capture it in an earlier step, or mend the name."
    W0702 ScenarioDocuments Warning "more than one document in a scenario file"
        "Only the first YAML document of a file is read. Put the others into files of their own."
    W0703 ScenarioBraces Warning "double braces around a placeholder"
        "`{{name}}` is read as `{name}`. Write single braces, so that other tools read the file the same way."
    W0704 ScenarioShadow Warning "a capture that hides an earlier one"
        "Two steps capture the same name; later steps see the later value only."
    W0705 ScenarioUnjudged Warning "a step that expects nothing"
        "The step has neither `expect` nor `assert`, so that nobody can say whether it went well. Say what is expected, or \
         move the step to `setup`."
}

impl Code {
    /// The code with that number, in any case.
    pub fn parse(number: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number().eq_ignore_ascii_case(number))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}
