-- Version 7: webhooks are signed.

-- What a webhook has beyond its address, as JSON, with its secrets; NULL of all others, and of webhooks of before, which
-- are unsigned.
ALTER TABLE subscriptions ADD COLUMN webhook TEXT;
