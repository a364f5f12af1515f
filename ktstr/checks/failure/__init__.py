"""Why a scheduler under test was lost: its failure dump, made from what the guest left. Pure functions of a record."""
