//! Sums by unit: the spending of an attempt, a round or a run, and its payees.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Sums by unit, e.g. `usd`, `tokens_in`, `tokens_out`, `calls`. Stored in billionths of a unit, so that
/// adding is exact; written as decimal numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    #[serde(flatten)]
    sums: Sums,
    /// Shares by payee and role, if known.
    #[serde(default, rename = "paid", skip_serializing_if = "Vec::is_empty")]
    shares: Vec<Share>,
}

/// Part of a meter: the amounts of one payee in one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Payee, such as `anthropic/claude-haiku-4-5`.
    pub to: Arc<str>,
    /// Role, such as `judge`.
    #[serde(rename = "for")]
    pub role: Arc<str>,
    #[serde(flatten)]
    sums: Sums,
}

/// Amounts sorted by unit name. There are few, and they are copied with every call, so a list is cheapest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums(Vec<(UnitName, Amount)>);

/// Name of a unit; those of [`Unit`] are cheap to copy.
type UnitName = Cow<'static, str>;

fn unit(name: &str) -> UnitName {
    Unit::parse(name).map_or_else(|| Cow::Owned(name.to_owned()), |unit| Cow::Borrowed(unit.word()))
}

/// Unit of spending. Verbs may use other units as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// US dollars.
    Usd,
    /// Tokens in both directions: always computed as the sum of the two.
    Tokens,
    /// Sent tokens.
    TokensIn,
    /// Received tokens.
    TokensOut,
    /// Calls.
    Calls,
    /// Seconds of work on the run or a step.
    Wall,
    /// Tokens that a provider read from its cache.
    CacheRead,
    /// Tokens that a provider wrote to its cache.
    CacheWrite,
    /// Calls without an answer, which count with their maximum cost.
    Lost,
    /// Lost calls, which count with the cost of the same call later.
    Estimated,
}

impl Unit {
    /// All units; first those that can be capped, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Usd,
        Self::Tokens,
        Self::TokensIn,
        Self::TokensOut,
        Self::Calls,
        Self::Wall,
        Self::CacheRead,
        Self::CacheWrite,
        Self::Lost,
        Self::Estimated,
    ];

    /// Name in pipelines, journals and reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::TokensIn => "tokens_in",
            Self::TokensOut => "tokens_out",
            Self::Calls => "calls",
            Self::Wall => "wall",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::Lost => "lost",
            Self::Estimated => "estimated",
        }
    }

    /// The unit with this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.word() == word)
    }
}

impl AsRef<str> for Unit {
    fn as_ref(&self) -> &str {
        self.word()
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A sum in billionths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

const SCALE: f64 = 1e9;

impl Amount {
    /// The amount nearest to `units`.
    #[expect(clippy::cast_possible_truncation, reason = "saturates far beyond any sum of money or tokens")]
    pub fn of(units: f64) -> Self {
        Self((units * SCALE).round() as i64)
    }

    /// The amount in units.
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine million units")]
    pub fn units(self) -> f64 {
        self.0 as f64 / SCALE
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = self.units();
        if self.0 % 1_000_000_000 == 0 {
            serializer.serialize_i64(self.0 / 1_000_000_000)
        } else {
            serializer.serialize_f64(units)
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(Self::of)
    }
}

impl Sums {
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(unit, _)| unit.as_ref().cmp(name))
    }

    fn get(&self, name: &str) -> Amount {
        self.place(name).map_or_else(|_| Amount::default(), |place| self.0[place].1)
    }

    /// Adds `more`. A new unit is recorded even with zero.
    fn add(&mut self, name: &str, more: Amount) {
        match self.place(name) {
            Ok(place) => {
                let sum = &mut self.0[place].1;
                sum.0 = sum.0.saturating_add(more.0);
                // A unit that a correction reduces to zero is removed.
                if more.0 < 0 && sum.0 == 0 {
                    self.0.remove(place);
                }
            }
            Err(place) => self.0.insert(place, (unit(name), more)),
        }
    }

    fn add_all(&mut self, more: &Self) {
        if self.0.is_empty() {
            self.clone_from(more);
        } else {
            more.0.iter().for_each(|(unit, amount)| self.add(unit, *amount));
        }
    }

    /// Subtracts `other`, but not below zero. Units with zero are removed.
    fn remove_all(&mut self, other: &Self) {
        for (unit, amount) in &other.0 {
            if let Ok(place) = self.place(unit) {
                let sum = &mut self.0[place].1;
                sum.0 = sum.0.saturating_sub(amount.0).max(0);
            }
        }
        self.0.retain(|(_, sum)| sum.0 != 0);
    }
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(unit, amount)| (unit, amount)))
    }
}

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = Sums;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("amounts by unit")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sums, A::Error> {
                let mut sums = Sums::default();
                while let Some((name, amount)) = map.next_entry::<Cow<'de, str>, Amount>()? {
                    sums.add(&name, amount);
                }
                Ok(sums)
            }
        }
        deserializer.deserialize_map(Reads)
    }
}

impl Meter {
    /// Nothing spent.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `units` to the sum of `unit`.
    pub fn add(&mut self, unit: impl AsRef<str>, units: f64) {
        self.sums.add(unit.as_ref(), Amount::of(units));
    }

    /// The meter with `units` added to the sum of `unit`.
    #[must_use]
    pub fn with(mut self, unit: impl AsRef<str>, units: f64) -> Self {
        self.add(unit, units);
        self
    }

    /// The meter with all amounts assigned to the payee `to` in the role `role`.
    #[must_use]
    pub fn paid(self, to: impl Into<Arc<str>>, role: impl Into<Arc<str>>) -> Self {
        let share = Share { to: to.into(), role: role.into(), sums: self.sums.clone() };
        Self { sums: self.sums, shares: vec![share] }
    }

    /// The meter without shares.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { sums: self.sums.clone(), shares: Vec::new() }
    }

    /// Shares by payee and role, if known.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Adds the sums of `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.sums.add_all(&other.sums);
    }

    /// Adds the sums and shares of `other`.
    pub fn absorb_shares(&mut self, other: &Self) {
        self.absorb(other);
        for share in &other.shares {
            match self.shares.iter_mut().find(|known| known.to == share.to && known.role == share.role) {
                Some(known) => known.sums.add_all(&share.sums),
                None => self.shares.push(share.clone()),
            }
        }
    }

    /// Subtracts the sums of `other`, but not below zero.
    pub fn remove(&mut self, other: &Self) {
        self.sums.remove_all(&other.sums);
    }

    /// Subtracts `other` with its shares.
    pub fn remove_shares(&mut self, other: &Self) {
        self.remove(other);
        for share in &other.shares {
            let known = self.shares.iter().position(|known| known.to == share.to && known.role == share.role);
            if let Some(place) = known {
                self.shares[place].sums.remove_all(&share.sums);
            }
        }
        self.shares.retain(|share| !share.sums.0.is_empty());
    }

    /// The difference to `other` with shares: the meter that must be added to `other` to get this one.
    /// Amounts may be negative.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        let negated = |sums: &Sums| {
            Sums(sums.0.iter().map(|(unit, sum)| (unit.clone(), Amount(sum.0.saturating_neg()))).collect())
        };
        let shares = other.shares.iter().map(|share| Share { sums: negated(&share.sums), ..share.clone() });
        let mut all = Self { sums: negated(&other.sums), shares: shares.collect() };
        all.absorb_shares(self);
        all.sums.0.retain(|(_, sum)| sum.0 != 0);
        all.shares.iter_mut().for_each(|share| share.sums.0.retain(|(_, sum)| sum.0 != 0));
        all
    }

    /// The amounts by which `other` exceeds this meter, by unit.
    #[must_use]
    pub fn shortfall(&self, other: &Self) -> Self {
        let mut short = other.plain();
        short.remove(self);
        short
    }

    /// The maximum of both, by unit.
    #[must_use]
    pub fn or_more(&self, other: &Self) -> Self {
        let mut most = self.plain();
        most.absorb(&self.shortfall(other));
        most
    }

    /// The maximum of both alternatives, by unit. A unit that is missing in one of them is unknown.
    #[must_use]
    pub fn either(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return self.or_more(other);
        }
        let mut most = self.or_more(other);
        most.sums.0.retain(|(unit, _)| self.says(unit) && other.says(unit));
        most
    }

    /// Whether there is a sum for `unit`.
    pub fn says(&self, unit: impl AsRef<str>) -> bool {
        self.sums.place(unit.as_ref()).is_ok()
    }

    /// The meter without a sum for `unit`.
    #[must_use]
    pub fn without(&self, unit: impl AsRef<str>) -> Self {
        let mut sums = self.sums.clone();
        sums.0.retain(|(known, _)| known != unit.as_ref());
        Self { sums, shares: Vec::new() }
    }

    /// The sums multiplied by `n`.
    #[must_use]
    pub fn times(&self, n: f64) -> Self {
        let sums = self.sums.0.iter().map(|(unit, amount)| (unit.clone(), Amount::of(amount.units() * n)));
        Self { sums: Sums(sums.collect()), shares: Vec::new() }
    }

    /// Sum of `unit`; zero if there is none. `tokens` is the sum of both directions.
    pub fn get(&self, unit: impl AsRef<str>) -> f64 {
        let (unit, sum) = (unit.as_ref(), |unit: &str| self.sums.get(unit));
        if unit != Unit::Tokens.word() {
            return sum(unit).units();
        }
        let parts = [Unit::TokensIn, Unit::TokensOut].map(|part| sum(part.word()).0);
        Amount(parts.into_iter().fold(sum(unit).0, i64::saturating_add)).units()
    }

    /// Whether nothing was ever added.
    pub fn is_empty(&self) -> bool {
        self.sums.0.is_empty()
    }

    /// Units and sums, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.sums.0.iter().map(|(unit, amount)| (unit.as_ref(), amount.units()))
    }
}

impl Share {
    /// Amounts of the share.
    pub fn meter(&self) -> Meter {
        Meter { sums: self.sums.clone(), shares: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_written_as_decimals() {
        let mut meter = Meter::new();
        for _ in 0..10 {
            meter.absorb(&Meter::new().with("usd", 0.1).with("calls", 1.0));
        }
        assert_eq!(serde_json::to_string(&meter).unwrap(), r#"{"calls":10,"usd":1}"#);
        meter.add("usd", 0.000_000_001);
        let back: Meter = serde_json::from_str(&serde_json::to_string(&meter).unwrap()).unwrap();
        assert_eq!(back, meter);
    }

    #[test]
    fn shares_say_who_got_what() {
        let call = |to: &str| Meter::new().with("calls", 1.0).with("tokens_in", 3.0).paid(to, "judge");
        let mut meter = call("a");
        meter.absorb_shares(&call("b"));
        meter.absorb_shares(&call("a"));
        let text = serde_json::to_string(&meter).unwrap();
        assert_eq!(
            text,
            r#"{"calls":3,"tokens_in":9,"paid":[{"to":"a","for":"judge","calls":2,"tokens_in":6},{"to":"b","for":"judge","calls":1,"tokens_in":3}]}"#
        );
        assert_eq!(serde_json::from_str::<Meter>(&text).unwrap(), meter);
        assert_eq!(Amount::of(meter.get("tokens")), Amount::of(9.0));
    }

    #[test]
    fn what_is_taken_away_leaves_nothing_behind() {
        let mut meter = Meter::new().with("usd", 0.3).with("calls", 2.0);
        meter.remove(&Meter::new().with("usd", 0.1).with("calls", 5.0).with("tokens_in", 1.0));
        assert_eq!(meter, Meter::new().with("usd", 0.2));
        assert_eq!(meter.shortfall(&Meter::new().with("usd", 0.5)), Meter::new().with("usd", 0.3));
        assert_eq!(meter.or_more(&Meter::new().with("usd", 0.1)), meter);
        let (free, unpriced) =
            (Meter::new().with("calls", 1.0).with("usd", 0.0), Meter::new().with("calls", 2.0));
        assert_eq!((free.either(&unpriced), unpriced.either(&free)), (unpriced.clone(), unpriced.clone()));
        assert_eq!(free.either(&Meter::new()), free);
        assert!(free.says("usd") && !free.without("usd").says("usd"));
    }
}
