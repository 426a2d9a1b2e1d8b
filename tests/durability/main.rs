//! What the daemon acknowledged, it has: processes that are killed, journals that are damaged, disks that are full.

#[cfg(test)]
#[path = "../support/chance.rs"]
mod chance;
#[cfg(test)]
mod check;
#[cfg(test)]
#[path = "../support/daemon.rs"]
mod daemon;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod facts;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod load;
#[cfg(test)]
mod loss_window;
#[cfg(test)]
mod outsiders;
#[cfg(test)]
mod uploads;
#[cfg(test)]
mod world;
