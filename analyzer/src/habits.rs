//! How the guest uses its devices: what suggestions are made of, gathered while the exits stream by.

use crate::names::Names;
use crate::tally::scalar;
use std::collections::BTreeMap;
use trapline_formats::{Exit, Site, Space};

/// What a write to a register does at once, by the register's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Effect {
    /// Nothing that is known.
    #[default]
    None,
    /// It tells a device that there is work.
    Notify,
    /// It steers interrupts or time, or the machine itself: it cannot wait.
    Immediate,
}

impl Effect {
    fn of(device: &str, register: &str) -> Self {
        const IMMEDIATE: [&str; 11] =
            ["apic", "pic ", "pit", "hpet", "timer", "eoi", "reset", "power", "exit", "smi", "acpi"];
        let name = format!("{device} {register}").to_lowercase();
        if name.contains("notify") {
            Self::Notify
        } else if IMMEDIATE.iter().any(|word| name.contains(word)) {
            Self::Immediate
        } else {
            Self::None
        }
    }
}

/// The habits at one site, of more than one exit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SiteHabits {
    /// Exits.
    pub(crate) exits: u64,
    /// Reads that returned what the read before had, right after it: nothing else trapped in between.
    pub(crate) same_at_once: u64,
    /// Reads that returned what the read before had, while nothing was written to the device in between.
    pub(crate) same_unwritten: u64,
    /// Reads right after a write to the same device that returned what the read before had.
    pub(crate) same_after_write: u64,
    /// Exits right after an exit of the same site.
    pub(crate) in_a_row: u64,
    /// Those that were at least the fourth in a row.
    pub(crate) in_a_long_row: u64,
    /// Whether the register is one of data: what it returns next is another element, not news of the same thing.
    pub(crate) is_data: bool,
    /// What a write does besides being stored.
    pub(crate) effect: Effect,
    /// Whether all values were one.
    pub(crate) constant: bool,
    row: u64,
}

/// The habits with one device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeviceHabits {
    /// Exits that read it.
    pub(crate) reads: u64,
    /// Exits that wrote it.
    pub(crate) writes: u64,
    /// A serial port whose FIFOs were switched on.
    pub(crate) fifo: bool,
    last_write: Option<u64>,
}

/// What is known of a site by its name.
#[derive(Debug, Clone, Copy, Default)]
struct Register {
    device: u32,
    effect: Effect,
    is_data: bool,
    /// It is the FIFO control register of a serial port.
    is_fifo: bool,
}

/// The last exit of a site.
#[derive(Debug, Clone, Copy)]
struct Last {
    exit: u64,
    value: u64,
}

/// The habits of a whole trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Habits {
    /// The register of each site.
    registers: Vec<Register>,
    last: Vec<Last>,
    /// Where the habits of a site are, from its second exit on: one exit is none.
    places: Vec<u32>,
    sites: Vec<SiteHabits>,
    devices: Vec<DeviceHabits>,
}

/// Of a site that has no habits, and of one that had no exit.
const NONE: u32 = u32::MAX;
const NEVER: u64 = u64::MAX;

/// The device of an address; an address without a name is a device of its own.
type Device = (Space, Result<String, u64>);

impl Habits {
    pub(crate) fn new(sites: &[Site], names: &Names) -> Self {
        let mut numbers: BTreeMap<Option<Device>, u32> = BTreeMap::new();
        // Sites share addresses, and names take their time.
        let mut known: BTreeMap<(Space, u64), Register> = BTreeMap::new();
        let mut register = |site: &Site| {
            let at = site.kind.space().map(|space| (space, site.address));
            if let Some(register) = at.and_then(|at| known.get(&at)) {
                return *register;
            }
            let register = Register::new(at, names, &mut numbers);
            if let Some(at) = at {
                known.insert(at, register);
            }
            register
        };
        let registers: Vec<_> = sites.iter().map(&mut register).collect();
        Self {
            registers,
            last: vec![Last { exit: NEVER, value: 0 }; sites.len()],
            places: vec![NONE; sites.len()],
            sites: Vec::new(),
            devices: vec![DeviceHabits::default(); numbers.len()],
        }
    }

    /// Counts one exit.
    #[inline]
    pub(crate) fn add(&mut self, site: &Site, exit: &Exit<'_>) {
        let id = exit.site as usize;
        let Some((register, last)) = self.registers.get(id).zip(self.last.get_mut(id)) else { return };
        let device = &mut self.devices[register.device as usize];
        let value = scalar(exit.data);
        if last.exit != NEVER {
            let place = &mut self.places[id];
            if *place == NONE {
                *place = self.sites.len() as u32;
                self.sites.push(SiteHabits::new(*register, site));
            }
            self.sites[*place as usize].add(site, exit, value, *last, device);
        }
        if site.kind.is_input() {
            device.reads += 1;
        } else {
            device.last_write = Some(exit.index);
            device.writes += 1;
            // 16550: bit 0 of the FIFO control register.
            device.fifo |= register.is_fifo && value & 1 == 1;
        }
        *last = Last { exit: exit.index, value };
    }

    /// The habits at a site, and with its device.
    pub(crate) fn of(&self, site: u32) -> Option<(&SiteHabits, &DeviceHabits)> {
        let device = self.registers.get(site as usize)?.device;
        let place = *self.places.get(site as usize)?;
        self.sites.get(place as usize).zip(self.devices.get(device as usize))
    }
}

impl Register {
    fn new(at: Option<(Space, u64)>, names: &Names, numbers: &mut BTreeMap<Option<Device>, u32>) -> Self {
        let name = at.and_then(|(space, address)| names.of(space, address));
        let device = at.map(|(space, address)| {
            // MSRs are all the processor's: each is a device of its own.
            let named = name.as_ref().filter(|_| space != Space::Msr);
            (space, named.map(|n| n.device.to_string()).ok_or(address))
        });
        let next = numbers.len() as u32;
        let number = *numbers.entry(device).or_insert(next);
        let (device, register) = name.map_or(Default::default(), |n| (n.device, n.register.to_lowercase()));
        Self {
            device: number,
            effect: Effect::of(&device, &register),
            is_data: register.contains("data"),
            is_fifo: register.contains("fifo"),
        }
    }
}

impl SiteHabits {
    /// The habits of a site with one exit.
    fn new(register: Register, site: &Site) -> Self {
        let Register { effect, is_data, .. } = register;
        Self { exits: 1, constant: !site.rep, row: 1, effect, is_data, ..Self::default() }
    }

    /// Counts one more exit.
    #[inline]
    fn add(&mut self, site: &Site, exit: &Exit<'_>, value: u64, last: Last, device: &DeviceHabits) {
        let follows = last.exit + 1 == exit.index;
        let same = last.value == value && !site.rep && !exit.fault;
        self.constant &= same;
        self.row = if follows { self.row + 1 } else { 1 };
        self.in_a_row += u64::from(follows);
        self.in_a_long_row += u64::from(self.row >= 4);
        if site.kind.is_input() {
            let written = device.last_write.is_some_and(|w| w > last.exit);
            self.same_at_once += u64::from(same && follows);
            self.same_unwritten += u64::from(same && !written);
            self.same_after_write +=
                u64::from(same && device.last_write.is_some_and(|w| w + 1 == exit.index));
        }
        self.exits += 1;
    }
}
