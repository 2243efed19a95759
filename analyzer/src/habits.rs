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

/// The habits at one site.
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
    last_exit: u64,
    last_value: u64,
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

/// The habits of a whole trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Habits {
    sites: Vec<SiteHabits>,
    devices: Vec<DeviceHabits>,
    /// The device of each site.
    device_of: Vec<u32>,
    /// Sites that write the FIFO control register of a serial port.
    fifo_control: Vec<bool>,
}

/// The device of an address; an address without a name is a device of its own.
type Device = (Space, Result<String, u64>);

impl Habits {
    pub(crate) fn new(sites: &[Site], names: &Names) -> Self {
        let mut numbers: BTreeMap<Option<Device>, u32> = BTreeMap::new();
        let mut habits = Self { sites: vec![SiteHabits::default(); sites.len()], ..Self::default() };
        for site in sites {
            let name = site.kind.space().and_then(|space| names.of(space, site.address));
            let device = site.kind.space().map(|space| {
                // MSRs are all the processor's: each is a device of its own.
                let named = name.as_ref().filter(|_| space != Space::Msr);
                (space, named.map(|n| n.device.to_string()).ok_or(site.address))
            });
            let next = numbers.len() as u32;
            habits.device_of.push(*numbers.entry(device).or_insert(next));
            let (device, register) =
                name.map_or(Default::default(), |n| (n.device, n.register.to_lowercase()));
            habits.sites[habits.device_of.len() - 1].effect = Effect::of(&device, &register);
            habits.sites[habits.device_of.len() - 1].is_data = register.contains("data");
            habits.fifo_control.push(register.contains("fifo") && !site.kind.is_input());
        }
        habits.devices = vec![DeviceHabits::default(); numbers.len()];
        habits
    }

    /// Counts one exit.
    #[inline]
    pub(crate) fn add(&mut self, site: &Site, exit: &Exit<'_>) {
        let id = exit.site as usize;
        let Some((habits, device)) =
            self.sites.get_mut(id).zip(self.devices.get_mut(self.device_of[id] as usize))
        else {
            return;
        };
        let value = scalar(exit.data);
        let first = habits.exits == 0;
        let follows = !first && habits.last_exit + 1 == exit.index;
        let same = !first && habits.last_value == value && !site.rep && !exit.fault;
        habits.constant = first && !site.rep || habits.constant && same;
        habits.row = if follows { habits.row + 1 } else { 1 };
        habits.in_a_row += u64::from(follows);
        habits.in_a_long_row += u64::from(habits.row >= 4);
        if site.kind.is_input() {
            let written = device.last_write.is_some_and(|w| w > habits.last_exit);
            habits.same_at_once += u64::from(same && follows);
            habits.same_unwritten += u64::from(same && !written);
            habits.same_after_write +=
                u64::from(same && device.last_write.is_some_and(|w| w + 1 == exit.index));
            device.reads += 1;
        } else {
            device.last_write = Some(exit.index);
            device.writes += 1;
            // 16550: bit 0 of the FIFO control register.
            device.fifo |= self.fifo_control[id] && value & 1 == 1;
        }
        habits.exits += 1;
        habits.last_exit = exit.index;
        habits.last_value = value;
    }

    /// The habits at a site, and with its device.
    pub(crate) fn of(&self, site: u32) -> Option<(&SiteHabits, &DeviceHabits)> {
        let device = *self.device_of.get(site as usize)?;
        self.sites.get(site as usize).zip(self.devices.get(device as usize))
    }
}
