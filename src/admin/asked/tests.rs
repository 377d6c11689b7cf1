//! Asked for, granted, used, revoked; and what may not happen on the way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::model::credential::{Granted, PENDING_LIFETIME};
use crate::model::settings::CallRule;
use crate::model::{Access, Act, Secret};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const NOON: Timestamp = Timestamp(1_763_726_400_000_000);

/// Keeps in memory; refuses when told to.
#[derive(Default)]
pub(crate) struct Memory {
    rows: Mutex<BTreeMap<u64, AskedCredential>>,
    last: AtomicU64,
    is_full: AtomicBool,
}

impl Memory {
    fn check(&self) -> Result<(), JournalError> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(JournalError { what: "keep", cause: "disk full".into() }),
            false => Ok(()),
        }
    }
}

impl Keep for Arc<Memory> {
    fn all(&self) -> Result<Vec<AskedCredential>, JournalError> {
        Ok(self.rows.lock().unwrap().values().cloned().collect())
    }

    fn add(&self, credential: &AskedCredential) -> Result<u64, JournalError> {
        self.check()?;
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.rows.lock().unwrap().insert(id, AskedCredential { id, ..credential.clone() });
        Ok(id)
    }

    fn put(&self, credential: &AskedCredential) -> Result<(), JournalError> {
        self.check()?;
        self.rows.lock().unwrap().insert(credential.id, credential.clone());
        Ok(())
    }

    fn forget(&self, id: u64) -> Result<(), JournalError> {
        self.check()?;
        self.rows.lock().unwrap().remove(&id);
        Ok(())
    }
}

pub(crate) fn application(secret: &str) -> OvhApplication {
    OvhApplication { name: "tf".into(), access: Access::Operate, key: "tf-key".into(), secret: Secret::new(secret) }
}

pub(crate) fn wanted(nonce: u8, at: Timestamp) -> AskedCredential {
    AskedCredential {
        id: 0,
        application_key: "tf-key".into(),
        nonce: [nonce; 16],
        rules: CallRule::every(),
        allowed_ips: Vec::new(),
        redirection: None,
        asked_at: at,
        verdict: None,
        last_use: None,
    }
}

fn verdict(is_granted: bool, at: Timestamp) -> Verdict {
    let granted = Granted { access: Access::Operate, farms: None, until: None };
    let act = Act { actor: "ops".into(), source: "127.0.0.1".into(), reason: None, at };
    Verdict { granted: is_granted.then_some(granted), act }
}

pub(crate) fn asked() -> (Arc<Memory>, Asked) {
    let memory = Arc::new(Memory::default());
    (Arc::clone(&memory), Asked::load(Box::new(memory)).unwrap())
}

#[test]
fn credential_is_found_by_its_key_alone_and_survives_the_process() {
    let (memory, asked) = asked();
    let of = application("as");
    let (id, key) = asked.ask(&of, wanted(1, NOON), HERE, NOON).unwrap();
    assert_eq!(key.len(), 32);
    assert_eq!(asked.find(&of, &key).unwrap().state(NOON), AskedState::PendingValidation);
    asked.decide(id, verdict(true, NOON)).unwrap();
    let later = Asked::load(Box::new(memory)).unwrap();
    assert_eq!(later.find(&of, &key).unwrap().state(NOON), AskedState::Validated);
    let other = format!("{}{}", &key[..31], if key.ends_with('0') { '1' } else { '0' });
    for wrong in ["", "0", "00000001", &key[1..], &other, &format!("{key}0"), &key.to_uppercase(), "é0000000"] {
        assert!(wrong == key || later.find(&of, wrong).is_none(), "{wrong:?}");
    }
    assert!(later.find(&application("new secret"), &key).is_none());
    assert!(later.find(&OvhApplication { key: "other".into(), ..of }, &key).is_none());
}

#[test]
fn credential_is_decided_once_and_in_time() {
    let (_, asked) = asked();
    let of = application("as");
    let (id, key) = asked.ask(&of, wanted(1, NOON), HERE, NOON).unwrap();
    asked.decide(id, verdict(false, NOON)).unwrap();
    assert_eq!(asked.find(&of, &key).unwrap().state(NOON), AskedState::Refused);
    let refused = asked.decide(id, verdict(true, NOON)).unwrap_err().to_string();
    assert!(refused.contains("is refused and not pending"), "{refused}");
    let (late, _) = asked.ask(&of, wanted(2, NOON), HERE, NOON).unwrap();
    assert!(asked.decide(late, verdict(true, NOON + PENDING_LIFETIME)).is_err());
    assert!(matches!(asked.decide(99, verdict(true, NOON)), Err(AskError::Unknown(99))));
    asked.revoke(id).unwrap();
    assert!(asked.find(&of, &key).is_none() && matches!(asked.revoke(id), Err(AskError::Unknown(_))));
}

#[test]
fn whoever_only_asks_fills_nothing_for_long() {
    let (_, asked) = asked();
    let of = application("as");
    for nonce in 0..PENDING_MAX {
        let nonce = u8::try_from(nonce).unwrap();
        asked.ask(&of, wanted(nonce, NOON), [192, 0, 2, nonce / 8].into(), NOON).unwrap();
    }
    let error = asked.ask(&of, wanted(99, NOON), HERE, NOON).unwrap_err();
    assert!(error.to_string().contains("wait for an operator"), "{error}");
    let later = NOON + PENDING_LIFETIME;
    asked.ask(&of, wanted(99, later), HERE, later).unwrap();
    assert_eq!(asked.all().len(), 1);
}

#[test]
fn what_cannot_be_kept_does_not_count() {
    let (memory, asked) = asked();
    let of = application("as");
    let (id, key) = asked.ask(&of, wanted(1, NOON), HERE, NOON).unwrap();
    memory.is_full.store(true, Ordering::Relaxed);
    assert!(matches!(asked.ask(&of, wanted(2, NOON), HERE, NOON), Err(AskError::Journal(_))));
    assert!(matches!(asked.decide(id, verdict(true, NOON)), Err(AskError::Journal(_))));
    assert!(matches!(asked.revoke(id), Err(AskError::Journal(_))));
    assert_eq!(asked.find(&of, &key).unwrap().state(NOON), AskedState::PendingValidation);
    asked.used(id, NOON);
    assert_eq!(asked.find(&of, &key).unwrap().last_use, Some(NOON));
}

#[test]
fn last_use_is_kept_once_a_minute() {
    let (memory, asked) = asked();
    let (id, _) = asked.ask(&application("as"), wanted(1, NOON), HERE, NOON).unwrap();
    let kept = |memory: &Memory| memory.rows.lock().unwrap()[&id].last_use;
    asked.used(id, NOON);
    asked.used(id, NOON + Duration::from_secs(59));
    assert_eq!(kept(&memory), Some(NOON));
    asked.used(id, NOON + Duration::from_secs(60));
    assert_eq!(kept(&memory), Some(NOON + Duration::from_secs(60)));
}

/// Looks, whenever something is kept, whether credentials could be looked up meanwhile.
#[derive(Default)]
struct Looking {
    memory: Arc<Memory>,
    asked: std::sync::OnceLock<std::sync::Weak<Asked>>,
    looked: AtomicU64,
}

impl Looking {
    fn look(&self) {
        let Some(asked) = self.asked.get().and_then(std::sync::Weak::upgrade) else { return };
        assert!(asked.kept.try_lock().is_ok(), "whoever signs a call waits for the disk");
        self.looked.fetch_add(1, Ordering::Relaxed);
    }
}

impl Keep for Arc<Looking> {
    fn all(&self) -> Result<Vec<AskedCredential>, JournalError> {
        self.memory.all()
    }

    fn add(&self, credential: &AskedCredential) -> Result<u64, JournalError> {
        self.look();
        self.memory.add(credential)
    }

    fn put(&self, credential: &AskedCredential) -> Result<(), JournalError> {
        self.look();
        self.memory.put(credential)
    }

    fn forget(&self, id: u64) -> Result<(), JournalError> {
        self.look();
        self.memory.forget(id)
    }
}

#[test]
fn credentials_are_looked_up_while_one_is_being_kept() {
    let looking = Arc::new(Looking::default());
    let asked = Arc::new(Asked::load(Box::new(Arc::clone(&looking))).unwrap());
    looking.asked.set(Arc::downgrade(&asked)).unwrap();
    let of = application("as");
    let (id, _) = asked.ask(&of, wanted(1, NOON), HERE, NOON).unwrap();
    asked.decide(id, verdict(true, NOON)).unwrap();
    assert!(asked.is_use_due(id, NOON));
    asked.used(id, NOON);
    assert!(!asked.is_use_due(id, NOON) && asked.is_use_due(id, NOON + USE_KEPT_EVERY));
    asked.revoke(id).unwrap();
    asked.used(id, NOON + USE_KEPT_EVERY);
    assert_eq!((looking.looked.load(Ordering::Relaxed), asked.all().len()), (4, 0));
    assert_eq!(looking.memory.all().unwrap(), []);
}

#[test]
fn source_fills_a_few_places_and_leaves_others_theirs() {
    let (_, asked) = asked();
    let (of, other) = (application("as"), IpAddr::from([192, 0, 2, 1]));
    for nonce in 0..8 {
        asked.ask(&of, wanted(nonce, NOON), HERE, NOON).unwrap();
    }
    let error = asked.ask(&of, wanted(9, NOON), HERE, NOON).unwrap_err().to_string();
    assert!(error.contains("asked for from 127.0.0.1"), "{error}");
    asked.ask(&of, wanted(9, NOON), other, NOON).unwrap();
    asked.decide(3, verdict(false, NOON)).unwrap();
    asked.ask(&of, wanted(10, NOON), HERE, NOON).unwrap();
}

#[test]
fn refused_and_expired_ones_make_room_and_good_ones_do_not() {
    let memory = Arc::new(Memory::default());
    for n in 0..KEPT_MAX {
        let mut verdict = verdict(n != 7, NOON);
        if let Some(granted) = verdict.granted.as_mut().filter(|_| n == 9) {
            granted.until = Some(NOON + Duration::from_secs(1));
        }
        let credential = AskedCredential { verdict: Some(verdict), ..wanted(1, NOON) };
        Keep::add(&memory, &credential).unwrap();
    }
    let asked = Asked::load(Box::new(memory)).unwrap();
    let (of, later) = (application("as"), NOON + Duration::from_secs(2));
    for (nonce, gone) in [(1, 8), (2, 10)] {
        asked.ask(&of, wanted(nonce, later), HERE, later).unwrap();
        assert!(asked.all().iter().all(|it| it.id != gone) && asked.all().len() == KEPT_MAX, "{gone}");
    }
    let error = asked.ask(&of, wanted(3, later), HERE, later).unwrap_err().to_string();
    assert!(error.contains("revoke some"), "{error}");
}
