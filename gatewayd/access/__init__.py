"""Who may send what where: the smtpd restriction lists."""
