//! [`Unit`], a unit of length, mass or temperature.

use runner_sdk::{Error, Result};

/// A unit, as a linear function to the base unit of its quantity: base = value × `factor` + `offset`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    name: &'static str,
    quantity: &'static str,
    factor: f64,
    offset: f64,
}

const UNITS: [Unit; 12] = [
    Unit::new("mm", "length", 0.001),
    Unit::new("cm", "length", 0.01),
    Unit::new("m", "length", 1.0),
    Unit::new("km", "length", 1_000.0),
    Unit::new("ft", "length", 0.3048),
    Unit::new("mi", "length", 1_609.344),
    Unit::new("g", "mass", 0.001),
    Unit::new("kg", "mass", 1.0),
    Unit::new("lb", "mass", 0.453_592_37),
    Unit::new("K", "temperature", 1.0),
    Unit::new("C", "temperature", 1.0).from(273.15),
    Unit::new("F", "temperature", 5.0 / 9.0).from(459.67 * 5.0 / 9.0),
];

impl Unit {
    const fn new(name: &'static str, quantity: &'static str, factor: f64) -> Self {
        Self { name, quantity, factor, offset: 0.0 }
    }

    const fn from(mut self, offset: f64) -> Self {
        self.offset = offset;
        self
    }

    /// Finds a unit by its name.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let unit = UNITS.into_iter().find(|unit| unit.name == name);
        unit.ok_or_else(|| {
            let known = UNITS.map(|unit| unit.name).join(", ");
            Error::invalid_input(format!("unknown unit `{name}`; known are {known}"))
                .code("unknown-unit")
        })
    }

    /// Converts `value` from this unit into another of the same quantity.
    pub(crate) fn convert(self, value: f64, to: Self) -> Result<f64> {
        if self.quantity != to.quantity {
            let message = format!(
                "`{}` is a {} and `{}` is a {}",
                self.name, self.quantity, to.name, to.quantity
            );
            return Err(Error::invalid_input(message).code("other-quantity"));
        }
        Ok((value * self.factor + self.offset - to.offset) / to.factor)
    }
}
