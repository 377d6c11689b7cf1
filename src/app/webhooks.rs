//! Delivery of events to receivers: made ready before anything happens, so that a receiver that cannot be is an error of
//! the start, and none of the first events is missed.

use std::sync::Arc;

use tokio::sync::watch;

use crate::alarm::Alarm;
use crate::journal::SqliteJournal;
use crate::model::settings::Webhook;
use crate::store::{EventSink, Journal};
use crate::webhook::{self, Receiver, ReceiverCells};

use super::{Edge, on_own_thread};

/// Receivers that are told from the start on.
pub(super) struct Webhooks {
    receivers: Vec<Receiver>,
    journal: SqliteJournal,
    latest: watch::Receiver<u64>,
    begin_after: u64,
}

impl Webhooks {
    /// Returns the receivers of the config, and what is to be told of every event.
    pub(super) fn prepare(webhooks: &[Webhook], journal: &SqliteJournal) -> anyhow::Result<(EventSink, Self)> {
        let begin_after = journal.last_event_id()?;
        let (sender, latest) = watch::channel(begin_after);
        let receivers = webhooks.iter().map(Receiver::new).collect::<Result<_, _>>()?;
        let sink: EventSink = Box::new(move |event| {
            sender.send_replace(event.id);
        });
        Ok((sink, Self { receivers, journal: journal.clone(), latest, begin_after }))
    }

    /// Returns the receivers' names and what is counted of them.
    pub(super) fn cells(&self) -> Vec<(Box<str>, Arc<ReceiverCells>)> {
        self.receivers.iter().map(|receiver| (receiver.name().into(), receiver.cells())).collect()
    }

    /// Starts their thread; none without receivers.
    pub(super) fn start(self, alarm: &Alarm) -> anyhow::Result<Option<Edge>> {
        let Self { receivers, journal, latest, begin_after } = self;
        if receivers.is_empty() {
            return Ok(None);
        }
        let edge = on_own_thread("webhook", alarm, move |stopped| async move {
            webhook::run(receivers, Arc::new(journal), latest, begin_after, rand::random(), stopped).await;
        });
        edge.map(Some)
    }
}
