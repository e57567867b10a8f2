// The pools that are measured, on connections that do nothing.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/puddle"
)

type pool interface {
	name() string
	// Returns what gives it back.
	acquire() func()
}

func pools(connections int) []pool {
	return []pool{newPuddle(connections), newDatabaseSQL(connections)}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// --- puddle -------------------------------------------------------------------------------------
type puddlePool struct{ pool *puddle.Pool }

func newPuddle(connections int) pool {
	open := func(context.Context) (interface{}, error) { return struct{}{}, nil }
	p := puddle.NewPool(open, func(interface{}) {}, int32(connections))
	for i := 0; i < connections; i++ {
		must(p.CreateResource(context.Background()))
	}
	return puddlePool{p}
}

func (p puddlePool) name() string { return "puddle 1" }

func (p puddlePool) acquire() func() {
	resource, err := p.pool.Acquire(context.Background())
	must(err)
	return resource.Release
}

// --- database/sql -------------------------------------------------------------------------------
type databaseSQL struct{ db *sql.DB }

func newDatabaseSQL(connections int) pool {
	db := sql.OpenDB(idleDriver{})
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return databaseSQL{db}
}

func (p databaseSQL) name() string { return "database/sql" }

func (p databaseSQL) acquire() func() {
	connection, err := p.db.Conn(context.Background())
	must(err)
	return func() { must(connection.Close()) }
}

type idleDriver struct{}

func (d idleDriver) Connect(context.Context) (driver.Conn, error) { return idleConnection{}, nil }
func (d idleDriver) Driver() driver.Driver                        { return d }
func (d idleDriver) Open(string) (driver.Conn, error)             { return idleConnection{}, nil }

type idleConnection struct{}

var errIdle = errors.New("an idle connection runs no statement")

func (idleConnection) Prepare(string) (driver.Stmt, error) { return nil, errIdle }
func (idleConnection) Close() error                        { return nil }
func (idleConnection) Begin() (driver.Tx, error)           { return nil, errIdle }
