/*
 * compat_slot.h
 *	  Differences between PostgreSQL majors in replication slots; part of compat.h.
 */
#ifndef TIDE_COMPAT_SLOT_H
#define TIDE_COMPAT_SLOT_H

/* 16 (15f8203a5 "Replace replication slot's invalidated_at LSN with an enum") */
#if PG_VERSION_NUM >= 160000
#define ReplicationSlotIsLost_compat(slot) ((slot)->data.invalidated != RS_INVAL_NONE)
#else
#define ReplicationSlotIsLost_compat(slot) (!XLogRecPtrIsInvalid((slot)->data.invalidated_at))
#endif

/* 17 (c393308b6 "Allow to enable failover property for replication slots via SQL API") */
#if PG_VERSION_NUM >= 170000
#define tide_create_slot_compat(name, plugin) \
	OidFunctionCall5(F_PG_CREATE_LOGICAL_REPLICATION_SLOT, NameGetDatum(name), \
					 NameGetDatum(plugin), BoolGetDatum(false), BoolGetDatum(false), \
					 BoolGetDatum(true))
#else
#define tide_create_slot_compat(name, plugin) \
	OidFunctionCall4(F_PG_CREATE_LOGICAL_REPLICATION_SLOT, NameGetDatum(name), \
					 NameGetDatum(plugin), BoolGetDatum(false), BoolGetDatum(false))
#endif

/*
 * 17 (93db6cbda "Add a new slot sync worker to synchronize logical slots", bf279ddd1
 * "synchronized_standby_slots"): standbys may have the slot, and say how far they are
 */
#if PG_VERSION_NUM >= 170000
#define ReplicationSlotIsSynced_compat(slot) ((slot)->data.synced)
#define StandbySlotsHaveCaughtup_compat(lsn) StandbySlotsHaveCaughtup(lsn, DEBUG1)
#define tide_slot_set_failover_compat(slot) \
	do { \
		bool		was_; \
		SpinLockAcquire(&(slot)->mutex); \
		was_ = (slot)->data.failover; \
		(slot)->data.failover = true; \
		SpinLockRelease(&(slot)->mutex); \
		if (!was_) \
		{ \
			ReplicationSlotMarkDirty(); \
			ReplicationSlotSave(); \
		} \
	} while (0)
#else
#define ReplicationSlotIsSynced_compat(slot) ((void) (slot), false)
#define StandbySlotsHaveCaughtup_compat(lsn) true
#define tide_slot_set_failover_compat(slot) ((void) (slot))
#endif

/* 18 (f41d8468d "Raise an error while trying to acquire an invalid slot") */
#if PG_VERSION_NUM >= 180000
#define ReplicationSlotAcquire_compat(name, nowait) ReplicationSlotAcquire(name, nowait, true)
#else
#define ReplicationSlotAcquire_compat(name, nowait) ReplicationSlotAcquire(name, nowait)
#endif

#endif							/* TIDE_COMPAT_SLOT_H */
